import * as tf from '@tensorflow/tfjs-core';
import { ConfigError } from '../../errors.js';
import type { ModelConfig } from '../../model/config.js';
import type { Decoder } from '../../model/decoder.js';
import type { Prefix } from '../../model/prefix.js';
import { variableFrom } from '../../model/variable.js';
import { Random } from '../../random.js';
import type { Adapter, AdapterMethodDefinition, AdapterParameter, EncodeText } from '../adapter.js';
import { parsePromptConfig, serializePromptConfig, type PromptConfig } from './config.js';
import type { PromptOptions } from './options.js';
import { requireFit, shapeMismatches, tensorValues } from '../peft/tensors.js';

const KEY = 'prompt_embeddings';

/**
 * Trained vectors P `[n, hidden]` that stand in front of every text as n embedded tokens would; all weights of the
 * model are frozen. Lester, Al-Rfou & Constant 2021, arXiv:2104.08691.
 */
class PromptAdapter implements Adapter, Prefix {
  readonly parameters: readonly AdapterParameter[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];

  constructor(
    private readonly decoder: Decoder,
    readonly config: PromptConfig,
    private readonly vectors: tf.Variable<tf.Rank.R2>,
    /** Of a fresh prompt; undefined keeps the values that it has. */
    private readonly seed: number | undefined,
  ) {
    this.parameters = [{ key: KEY, variable: vectors }];
    this.layerParameters = Array.from({ length: decoder.config.numLayers }, () => []);
    this.attach();
  }

  get length(): number {
    return this.config.numVirtualTokens;
  }

  forward(): tf.Tensor2D {
    return this.vectors.clone() as tf.Tensor2D;
  }

  async initialize(encode?: EncodeText): Promise<void> {
    if (this.seed === undefined) return;
    const random = new Random(this.seed, KEY);
    const { init } = this.config;
    if (init === 'RANDOM') {
      const values = Float32Array.from({ length: this.vectors.size }, () => random.normal());
      tf.tidy(() => this.vectors.assign(tf.tensor2d(values, this.vectors.shape)));
      return;
    }
    const { vocabSize } = this.decoder.config;
    const tokens =
      init === 'TEXT'
        ? await this.textTokens(encode)
        : Array.from({ length: this.length }, () => random.below(vocabSize));
    const ids = Int32Array.from({ length: this.length }, (_, i) => tokens[i % tokens.length] as number);
    tf.tidy(() => this.vectors.assign(this.decoder.embedTokens(tf.tensor1d(ids, 'int32'))));
  }

  private async textTokens(encode: EncodeText | undefined): Promise<readonly number[]> {
    if (encode === undefined) throw new ConfigError('adapter.prompt_tuning_init: TEXT needs a model with a tokenizer');
    const tokens = await encode(this.config.initText ?? '');
    if (tokens.length === 0)
      throw new ConfigError('adapter.prompt_tuning_init_text: the tokenizer makes no token of it');
    return tokens;
  }

  attach(): void {
    if (this.decoder.prefix !== this) requireFree(this.decoder);
    this.decoder.prefix = this;
  }

  detach(): void {
    if (this.decoder.prefix === this) this.decoder.prefix = undefined;
  }

  dispose(): void {
    this.detach();
    this.vectors.dispose();
  }
}

export const promptTuning = {
  peftType: 'PROMPT_TUNING',
  shownFields: ['num_virtual_tokens', 'prompt_tuning_init'],
  notMergeable: 'its vectors stand among the tokens of a text and belong to no weight',
  notExportable: 'llama.cpp has no file for trained prompts',
  parseConfig: parsePromptConfig,
  serializeConfig: serializePromptConfig,
  optionsOf: (config) => ({ num_virtual_tokens: config.numVirtualTokens }),
  virtualTokens: (options) => options.num_virtual_tokens,
  describe: (options) => `${options.num_virtual_tokens} virtual tokens`,
  mismatches: (model, config, tensors) => shapeMismatches(expected(model, config), tensors),

  create(decoder, options, seed): Adapter {
    requireFree(decoder);
    const { hiddenSize, numLayers, numHeads, maxPositions } = decoder.config;
    const n = options.num_virtual_tokens;
    if (n >= maxPositions)
      throw new ConfigError(
        `adapter.num_virtual_tokens: ${n} leave no room for text in the model's context of ${maxPositions}`,
      );
    const config: PromptConfig = {
      peftType: 'PROMPT_TUNING',
      numVirtualTokens: n,
      tokenDim: hiddenSize,
      numLayers,
      numAttentionHeads: numHeads,
      init: options.prompt_tuning_init,
      initText: options.prompt_tuning_init_text,
      tokenizer: undefined,
      baseModel: undefined,
      revision: undefined,
    };
    return new PromptAdapter(decoder, config, variableFrom(tf.zeros<tf.Rank.R2>([n, hiddenSize])), seed);
  },

  load(decoder, config, tensors, name): Adapter {
    requireFree(decoder);
    requireFit(shapeMismatches(expected(decoder.config, config), tensors), name);
    const values = tensorValues(tensors, KEY, name);
    return new PromptAdapter(
      decoder,
      config,
      variableFrom(tf.tensor2d(values, [config.numVirtualTokens, decoder.config.hiddenSize])),
      undefined,
    );
  },
} satisfies AdapterMethodDefinition<PromptConfig, PromptOptions>;

function requireFree({ prefix }: Decoder): void {
  if (prefix !== undefined) throw new Error('the model already has a prompt: detach it first');
}

function expected(model: ModelConfig, config: PromptConfig): Map<string, readonly number[]> {
  return new Map([[KEY, [config.numVirtualTokens, model.hiddenSize]]]);
}
