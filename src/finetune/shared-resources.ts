import type { DataSplits } from '../data/split.js';
import type { Device } from '../device/device.js';
import type { Decoder } from '../model/decoder.js';
import type { RunInputs } from '../resume/inputs.js';

/**
 * What runs that follow each other on one device have in common, loaded when the first of them wants it. One base model
 * is held at a time; whoever wants another gets that in its place.
 */
export class SharedResources {
  private base: { readonly key: string; readonly decoder: Decoder } | undefined;
  private readonly dataSets = new Map<string, Promise<DataSplits>>();
  private readonly files = new Map<string, Promise<RunInputs['files']>>();

  constructor(readonly device: Device) {}

  /** A base model as `key` describes it. It stays the holder's: no run disposes of it. */
  async decoder(key: string, load: () => Promise<Decoder>): Promise<Decoder> {
    if (this.base?.key === key) return this.base.decoder;
    this.disposeBase();
    const decoder = await load();
    this.base = { key, decoder };
    return decoder;
  }

  /** The data sets that runs with this key have in common; `load` is called for the first of them. */
  data(key: string, load: () => Promise<DataSplits>): Promise<DataSplits> {
    return remembered(this.dataSets, key, load);
  }

  /** Hashes of the files that runs read. */
  hashes(key: string, hash: () => Promise<RunInputs['files']>): Promise<RunInputs['files']> {
    return remembered(this.files, key, hash);
  }

  /** Releases the base model. The device stays open: it is the caller's. */
  dispose(): void {
    this.disposeBase();
    this.dataSets.clear();
    this.files.clear();
  }

  private disposeBase(): void {
    this.base?.decoder.dispose();
    this.base = undefined;
  }
}

/** What failed is tried again when it is wanted again. */
async function remembered<T>(values: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = values.get(key) ?? make();
  values.set(key, known);
  try {
    return await known;
  } catch (error) {
    values.delete(key);
    throw error;
  }
}
