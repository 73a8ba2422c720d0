import { ConfigError } from '../errors.js';
import type { Directory } from '../io/directory.js';
import type { Decoder } from '../model/decoder.js';
import type { Adapter } from './adapter.js';
import { putAdapter, readAdapter, type AdapterFiles } from './peft/files.js';

/**
 * Several adapters of one frozen base, of which one or none is in force. All stay on the device: switching moves no
 * weight.
 */
export class AdapterSet {
  private readonly adapters = new Map<string, Adapter>();
  private current: string | undefined;

  constructor(private readonly decoder: Decoder) {}

  get names(): string[] {
    return [...this.adapters.keys()];
  }

  /** The name of the adapter that the decoder runs through; undefined for the base alone. */
  get active(): string | undefined {
    return this.current;
  }

  /** The adapter that the decoder runs through. */
  get adapter(): Adapter | undefined {
    return this.current === undefined ? undefined : this.adapters.get(this.current);
  }

  /**
   * Puts one more adapter on the device. Which one is in force does not change.
   * @param source a PEFT adapter directory, or what was read of one
   * @param onNote told what is worth knowing of it
   * @throws ConfigError when the name is taken; FormatError when the adapter does not fit
   */
  async add(name: string, source: Directory | AdapterFiles, onNote?: (note: string) => void): Promise<void> {
    if (this.adapters.has(name)) throw new ConfigError(`there is already an adapter called ${name}`);
    const files = 'config' in source ? source : await readAdapter(source);
    // An adapter takes hold of the base's own layers when it is made.
    this.adapter?.detach();
    try {
      const adapter = await putAdapter(
        this.decoder,
        files,
        'config' in source ? name : source.name,
        onNote === undefined ? {} : { onNote },
      );
      adapter.detach();
      this.adapters.set(name, adapter);
    } finally {
      this.adapter?.attach();
    }
  }

  /** Puts this adapter in force, or none. @throws ConfigError for an unknown name */
  use(name: string | undefined): void {
    if (name === this.current) return;
    const next = name === undefined ? undefined : this.adapters.get(name);
    if (name !== undefined && next === undefined) {
      throw new ConfigError(
        `there is no adapter called ${name}; there ${this.adapters.size === 1 ? 'is' : 'are'} ${this.names.join(', ') || 'none'}`,
      );
    }
    this.adapter?.detach();
    this.current = name;
    next?.attach();
  }

  /** Takes an adapter off the device; without it the base is in force if the adapter was. */
  remove(name: string): void {
    if (name === this.current) this.use(undefined);
    this.adapters.get(name)?.dispose();
    this.adapters.delete(name);
  }

  /** Takes all adapters off the model and releases them. */
  dispose(): void {
    this.use(undefined);
    for (const adapter of this.adapters.values()) adapter.dispose();
    this.adapters.clear();
  }
}
