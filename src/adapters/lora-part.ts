import type * as tf from '@tensorflow/tfjs-core';
import type { Decoder } from '../model/decoder.js';
import type { Adapter, AdapterParameter } from './adapter.js';
import type { PeftConfig } from './peft-config.js';

/** What an adapter puts in the place of one module of the decoder. */
export interface LoraPart {
  readonly module: string;
  readonly parameters: readonly AdapterParameter[];
  /** Sets what comes from the base's values. */
  initialize?(): Promise<void>;
  attach(): void;
  detach(): void;
  /** Releases what is not a parameter. */
  dispose?(): void;
}

/** Parts of a decoder that are trained together. */
export class LoraAdapter implements Adapter {
  readonly parameters: readonly AdapterParameter[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  private initialized = false;

  constructor(
    decoder: Decoder,
    readonly config: PeftConfig,
    private readonly parts: readonly LoraPart[],
  ) {
    this.parameters = parts.flatMap((part) => part.parameters);
    const { modules } = decoder.config.family;
    this.layerParameters = Array.from({ length: decoder.config.numLayers }, (_, i) =>
      parts
        .filter(({ module }) => module.startsWith(`${modules.layer(i)}.`))
        .flatMap((part) => part.parameters.map(({ variable }) => variable)),
    );
    this.attach();
  }

  async initialize(): Promise<void> {
    if (this.initialized) return;
    this.initialized = true;
    for (const part of this.parts) await part.initialize?.();
  }

  attach(): void {
    for (const part of this.parts) part.attach();
  }

  detach(): void {
    for (const part of this.parts) part.detach();
  }

  dispose(): void {
    this.detach();
    this.parts.forEach(releasePart);
  }
}

export function releasePart(part: LoraPart): void {
  part.dispose?.();
  for (const { variable } of part.parameters) variable.dispose();
}

/** A place in the decoder that holds the base's own module or what stands for it. */
export interface Slot<T> {
  readonly get: () => T;
  readonly set: (value: T) => void;
  /** Whether two values are the same one; identity unless given. */
  readonly same?: (a: T, b: T) => boolean;
}

/** A part that takes one slot. */
export function slotPart<T>(
  module: string,
  slot: Slot<T>,
  mine: T,
  parameters: LoraPart['parameters'],
  more: Pick<LoraPart, 'initialize' | 'dispose'> = {},
): LoraPart {
  const base = slot.get();
  const same = slot.same ?? Object.is;
  return {
    module,
    parameters,
    attach: () => {
      if (!same(slot.get(), base) && !same(slot.get(), mine))
        throw new Error(`${module} already carries an adapter: detach it first`);
      slot.set(mine);
    },
    detach: () => {
      if (same(slot.get(), mine)) slot.set(base);
    },
    ...more,
  };
}
