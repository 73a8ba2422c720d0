import type * as tf from '@tensorflow/tfjs-core';
import type { TensorBytes } from '../io/safetensors.js';
import type { Decoder } from '../model/decoder.js';
import type { PeftConfig } from './peft-config.js';
import type { AdapterOptions } from './options.js';

/** A trained tensor and its key in `adapter_model.safetensors`. */
export interface AdapterParameter {
  readonly key: string;
  readonly variable: tf.Variable;
  /** Factor on the learning rate; 1 unless given. */
  readonly learningRateScale?: number;
}

/** What trains on top of a frozen decoder. Made attached: the decoder runs through it until `detach`. */
export interface Adapter {
  /** As it goes into adapter_config.json. */
  readonly config: PeftConfig;
  /** In a fixed order; gradients and optimiser state follow it. */
  readonly parameters: readonly AdapterParameter[];
  /** The parameters of each decoder layer, for gradient checkpointing. */
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  /** Sets the values of a fresh adapter that come from the base model's. Called once, before the first step; absent where none do. */
  initialize?(): Promise<void>;
  attach(): void;
  /** Puts the base model's own layers back. */
  detach(): void;
  /** Detaches and releases the parameters. */
  dispose(): void;
}

/** How a method comes to be on a decoder: fresh, or from saved tensors. */
export interface AdapterMethodDefinition {
  /** Reads no value of the decoder, so that the memory planner can make one on a decoder of sizes alone. */
  create(decoder: Decoder, options: AdapterOptions, seed: number): Adapter;
  /** @throws FormatError listing every missing, unexpected and misshapen tensor. */
  load(decoder: Decoder, config: PeftConfig, tensors: ReadonlyMap<string, TensorBytes>, name: string, options?: { dropout?: number }): Adapter | Promise<Adapter>;
}
