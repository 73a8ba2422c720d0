import { z } from 'zod';
import { FormatError } from '../errors.js';

/** The version of PEFT whose file layout is written. */
const PEFT_VERSION = '0.21.0';

const pattern = z.record(z.string(), z.number().positive()).nullish();

/** What is read of adapter_config.json. Everything else must be a setting that changes nothing (see `CHANGES_MEANING`). */
const schema = z.object({
  peft_type: z.literal('LORA'),
  r: z.number().int().min(1).max(65536),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(1).nullish(),
  target_modules: z.union([z.string(), z.array(z.string()).min(1)]),
  use_rslora: z.boolean().nullish(),
  rank_pattern: pattern,
  alpha_pattern: pattern,
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  base_model_name_or_path: z.string().nullish(),
  revision: z.string().nullish(),
  task_type: z.string().nullish(),
});

/** adapter_config.json, as far as it describes an adapter that this package can run. */
export interface PeftConfig {
  readonly peftType: 'LORA';
  readonly r: number;
  readonly loraAlpha: number;
  readonly loraDropout: number;
  readonly targetModules: string | readonly string[];
  readonly useRslora: boolean;
  /** Rank and alpha of modules whose path matches the key; others have `r` and `loraAlpha`. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly initLoraWeights: boolean | string;
  readonly baseModel: string | undefined;
  readonly revision: string | undefined;
}

/**
 * Fields that would change what the adapter computes, with the values that leave it a plain LoRA. `fan_in_fan_out` only says how the
 * base model stores its weight, and files say it wrongly: A and B have one form.
 */
const CHANGES_MEANING: Readonly<Record<string, (value: unknown) => boolean>> = {
  use_dora: isOff,
  bias: (value) => isOff(value) || value === 'none',
  lora_bias: isOff,
  modules_to_save: isOff,
  layer_replication: isOff,
  trainable_token_indices: isOff,
  target_parameters: isOff,
  alora_invocation_tokens: isOff,
  use_qalora: isOff,
  use_bdlora: isOff,
  arrow_config: isOff,
};

function isOff(value: unknown): boolean {
  return value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0);
}

/** @throws FormatError naming the file and each wrong or unsupported field. */
export function parsePeftConfig(json: unknown, name = 'adapter_config.json'): PeftConfig {
  const config = parseLoraFields(json, name);
  const unsupported = unsupportedFields(json as Record<string, unknown>);
  if (unsupported.length > 0) throw new FormatError(`${name}: ${unsupported.map((field) => `${field} is not supported`).join('; ')}`);
  return config;
}

/** `key: value` of each field that makes the adapter more than a plain LoRA. */
export function unsupportedFields(fields: Readonly<Record<string, unknown>>): string[] {
  const unsupported = Object.entries(CHANGES_MEANING).filter(([key, harmless]) => !harmless(fields[key]));
  return unsupported.map(([key]) => `${key}: ${JSON.stringify(fields[key])}`);
}

/**
 * The fields of a LoRA adapter, whatever else the file asks for: see {@link unsupportedFields}.
 * @throws FormatError naming the file and each wrong field.
 */
export function parseLoraFields(json: unknown, name = 'adapter_config.json'): PeftConfig {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
    throw new FormatError(`${name}: ${problems.join('; ')}`);
  }
  const v = parsed.data;
  return {
    peftType: 'LORA',
    r: v.r,
    loraAlpha: v.lora_alpha,
    loraDropout: v.lora_dropout ?? 0,
    targetModules: v.target_modules,
    useRslora: v.use_rslora ?? false,
    rankPattern: v.rank_pattern ?? {},
    alphaPattern: v.alpha_pattern ?? {},
    initLoraWeights: v.init_lora_weights ?? true,
    baseModel: v.base_model_name_or_path ?? undefined,
    revision: v.revision ?? undefined,
  };
}

/** adapter_config.json as PEFT writes it: sorted keys, two spaces, no newline at the end. */
export function serializePeftConfig(config: PeftConfig): string {
  const fields: Record<string, unknown> = {
    alpha_pattern: config.alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: config.baseModel ?? null,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: config.initLoraWeights,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: config.loraAlpha,
    lora_dropout: config.loraDropout,
    modules_to_save: null,
    peft_type: 'LORA',
    peft_version: PEFT_VERSION,
    r: config.r,
    rank_pattern: config.rankPattern,
    revision: config.revision ?? null,
    target_modules: config.targetModules,
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: config.useRslora,
  };
  return JSON.stringify(Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))), null, 2);
}

/** Scale of the low-rank update: alpha / r, or alpha / √r with rank stabilisation. */
export function loraScale(rank: number, alpha: number, useRslora: boolean): number {
  return useRslora ? alpha / Math.sqrt(rank) : alpha / rank;
}

/** The pattern's value for a module, or the default. A key is a regular expression for the end of the path (PEFT's rule). */
export function patternValue(patterns: Readonly<Record<string, number>>, module: string, fallback: number): number {
  const key = Object.keys(patterns).find((k) => new RegExp(`^(?:.*\\.)?(?:${k})$`).test(module));
  return key === undefined ? fallback : (patterns[key] as number);
}
