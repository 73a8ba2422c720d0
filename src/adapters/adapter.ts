import type * as tf from '@tensorflow/tfjs-core';
import type { TensorBytes } from '../io/safetensors.js';
import type { ModelConfig } from '../model/config.js';
import type { Decoder } from '../model/decoder.js';
import type { SavedConfig } from './peft/fields.js';

export type { SavedConfig } from './peft/fields.js';

/** A trained tensor and its key in `adapter_model.safetensors`. */
export interface AdapterParameter {
  readonly key: string;
  readonly variable: tf.Variable;
  /** Factor on the learning rate; 1 unless given. */
  readonly learningRateScale?: number;
  /** A peak of its own, whatever the run's is. */
  readonly learningRate?: number;
  /** Its form in the file, where that is not the variable's own. */
  readonly stored?: (values: Float32Array) => TensorBytes;
}

/** Token ids of a text, with the tokens that the tokenizer puts around it. */
export type EncodeText = (text: string) => Promise<readonly number[]>;

/** What trains on top of a frozen decoder. Made attached: the decoder runs through it until `detach`. */
export interface Adapter {
  /** As it goes into adapter_config.json. */
  readonly config: SavedConfig;
  /** In a fixed order; gradients and optimiser state follow it. */
  readonly parameters: readonly AdapterParameter[];
  /** The parameters of each decoder layer, for gradient checkpointing. */
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  /**
   * Sets the values of a fresh adapter that come from the base model's. Called once, before the first step; absent
   * where none do.
   * @param encode where the model has a tokenizer
   */
  initialize?(encode?: EncodeText): Promise<void>;
  attach(): void;
  /** Puts the base model's own layers, or their values, back. */
  detach(): void;
  /** Detaches and releases the parameters. */
  dispose(): void;
}

/** For continuing a saved adapter's training. */
export interface AdapterLoadOptions<O extends object = object> {
  /** Of the new run: those that are no property of the saved adapter, such as dropout, replace its own. */
  readonly settings?: Partial<O>;
  /** Gets notes about the files that are no errors. */
  readonly onNote?: (note: string) => void;
}

/** Names and shapes of tensors, as a file's header gives them. */
export type TensorShapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** A way of training. `C` is what adapter_config.json says of it, `O` the options that a config has for it. */
export interface AdapterMethodDefinition<C extends SavedConfig = SavedConfig, O extends object = object> {
  /** The `peft_type` of its adapter_config.json. */
  readonly peftType: C['peftType'];
  /** Fields of its adapter_config.json that say most about an adapter, for `lowrank inspect`. */
  readonly shownFields: readonly string[];
  /** Why what it trains cannot become part of the base's weights; absent where it can. */
  readonly notMergeable?: string;
  /** Why other runtimes cannot take its files; absent where they can. */
  readonly notExportable?: string;
  /** Why PEFT itself cannot load its files; absent where it can. */
  readonly notOfPeft?: string;
  /** Which of the base's own tensors are trained, and so must be loaded as float variables. Absent: none. */
  trainable?(model: ModelConfig, options: O): (tensor: string) => boolean;
  /** Whether the result of a run is a model directory instead of an adapter. */
  readonly producesModel?: true;
  /** Tokens that rows of data may hold, where the method adds some to the model's. Absent: the model's vocabulary. */
  vocabularySize?(model: ModelConfig, options: O): number;
  /** What a user should know about a fresh adapter; undefined for nothing. */
  note?(options: O): string | undefined;
  /** Entries of the metadata of `adapter_model.safetensors` beside its format. Absent: none. */
  metadata?(config: C): Record<string, string>;
  /** Positions of the model's context that it takes up. Absent: none. */
  virtualTokens?(options: O): number;
  /**
   * Reads no value of the decoder, so that the memory planner can make one on a decoder of sizes alone.
   * @param seed undefined: only sizes are wanted, and nothing is drawn
   */
  create(decoder: Decoder, options: O, seed: number | undefined): Adapter;
  /** @throws FormatError listing every missing, unexpected and misshapen tensor. */
  load(
    decoder: Decoder,
    config: C,
    tensors: ReadonlyMap<string, TensorBytes>,
    name: string,
    options?: AdapterLoadOptions<O>,
  ): Adapter | Promise<Adapter>;
  /** @throws FormatError naming the file and each wrong or unsupported field. */
  parseConfig(json: unknown, name?: string): C;
  /** The text of adapter_config.json. */
  serializeConfig(config: C): string;
  /** The options that a saved adapter was made with, as far as they decide sizes. */
  optionsOf(config: C): Partial<O>;
  /** In a few words, for people: `rank 8`. */
  describe(options: O): string;
  /** What keeps saved tensors from being used on a model, one sentence each; empty when they fit. */
  mismatches(model: ModelConfig, config: C, tensors: TensorShapes): string[];
}
