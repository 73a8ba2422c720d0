import type * as tf from '@tensorflow/tfjs-core';
import type { Decoder } from '../../model/decoder.js';
import type { Adapter, AdapterParameter } from '../adapter.js';
import type { LoraConfig } from './config.js';

/** The replacement of one module of the decoder. */
export interface AdaptedModule {
  readonly module: string;
  readonly parameters: readonly AdapterParameter[];
  /** Sets what comes from the base's values. */
  initialize?(): Promise<void>;
  attach(): void;
  detach(): void;
  /** Releases what is not a parameter. */
  dispose?(): void;
}

/** The adapted modules of one decoder, trained together. */
export class LoraAdapter implements Adapter {
  readonly parameters: readonly AdapterParameter[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  private initialized = false;

  constructor(
    decoder: Decoder,
    readonly config: LoraConfig,
    private readonly modules: readonly AdaptedModule[],
  ) {
    this.parameters = modules.flatMap((module) => module.parameters);
    const names = decoder.config.family.modules;
    this.layerParameters = Array.from({ length: decoder.config.numLayers }, (_, i) =>
      modules
        .filter(({ module }) => module.startsWith(`${names.layer(i)}.`))
        .flatMap(({ parameters }) => parameters.map(({ variable }) => variable)),
    );
    this.attach();
  }

  async initialize(): Promise<void> {
    if (this.initialized) return;
    this.initialized = true;
    for (const module of this.modules) await module.initialize?.();
  }

  attach(): void {
    for (const module of this.modules) module.attach();
  }

  detach(): void {
    for (const module of this.modules) module.detach();
  }

  dispose(): void {
    this.detach();
    this.modules.forEach(releaseModule);
  }
}

export function releaseModule(module: AdaptedModule): void {
  module.dispose?.();
  for (const { variable } of module.parameters) variable.dispose();
}

/** A place in the decoder that holds the base's own module or what stands for it. */
export interface Slot<T> {
  readonly get: () => T;
  readonly set: (value: T) => void;
  /** Whether two values are the same one; identity unless given. */
  readonly same?: (a: T, b: T) => boolean;
}

/** An adapted module that takes one slot. */
export function moduleInSlot<T>(
  module: string,
  slot: Slot<T>,
  replacement: T,
  parameters: AdaptedModule['parameters'],
  more: Pick<AdaptedModule, 'initialize' | 'dispose'> = {},
): AdaptedModule {
  const base = slot.get();
  const same = slot.same ?? Object.is;
  return {
    module,
    parameters,
    attach: () => {
      if (!same(slot.get(), base) && !same(slot.get(), replacement))
        throw new Error(`${module} already carries an adapter: detach it first`);
      slot.set(replacement);
    },
    detach: () => {
      if (same(slot.get(), replacement)) slot.set(base);
    },
    ...more,
  };
}
