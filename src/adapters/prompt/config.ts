import * as z from 'zod';
import { PROMPT_INITS } from './options.js';
import {
  commonFields,
  parseFields,
  readCommon,
  serializeFields,
  writtenCommon,
  type SavedConfig,
} from '../peft/fields.js';

export type PromptInit = (typeof PROMPT_INITS)[number];

/** What PEFT's PromptTuningConfig says of an adapter, as far as it matters here. */
export interface PromptConfig extends SavedConfig {
  readonly peftType: 'PROMPT_TUNING';
  readonly numVirtualTokens: number;
  /** Sizes of the base model, which PEFT writes down; undefined where a file leaves them out. */
  readonly tokenDim: number | undefined;
  readonly numLayers: number | undefined;
  readonly numAttentionHeads: number | undefined;
  readonly init: PromptInit;
  readonly initText: string | undefined;
  /** PEFT refuses a file that starts from a text and names no tokenizer. */
  readonly tokenizer: string | undefined;
}

const size = z.number().int().min(1);

const schema = z.object({
  ...commonFields,
  peft_type: z.literal('PROMPT_TUNING'),
  num_virtual_tokens: size,
  token_dim: size.nullish(),
  num_layers: size.nullish(),
  num_attention_heads: size.nullish(),
  num_transformer_submodules: z.literal(1).nullish(),
  prompt_tuning_init: z.enum(PROMPT_INITS).nullish(),
  prompt_tuning_init_text: z.string().nullish(),
  tokenizer_name_or_path: z.string().nullish(),
});

/** @throws FormatError naming the file and each wrong field. */
export function parsePromptConfig(json: unknown, name = 'adapter_config.json'): PromptConfig {
  const fields = parseFields(schema, json, name);
  return {
    ...readCommon(fields),
    peftType: 'PROMPT_TUNING',
    numVirtualTokens: fields.num_virtual_tokens,
    tokenDim: fields.token_dim ?? undefined,
    numLayers: fields.num_layers ?? undefined,
    numAttentionHeads: fields.num_attention_heads ?? undefined,
    init: fields.prompt_tuning_init ?? 'RANDOM',
    initText: fields.prompt_tuning_init_text ?? undefined,
    tokenizer: fields.tokenizer_name_or_path ?? undefined,
  };
}

export function serializePromptConfig(config: PromptConfig): string {
  const tokenizer = config.tokenizer ?? (config.init === 'TEXT' ? config.baseModel : undefined);
  return serializeFields({
    ...writtenCommon(config),
    num_attention_heads: config.numAttentionHeads ?? null,
    num_layers: config.numLayers ?? null,
    num_transformer_submodules: 1,
    num_virtual_tokens: config.numVirtualTokens,
    prompt_tuning_init: config.init,
    prompt_tuning_init_text: config.initText ?? null,
    token_dim: config.tokenDim ?? null,
    tokenizer_kwargs: null,
    tokenizer_name_or_path: tokenizer ?? null,
  });
}
