import * as z from 'zod';
import { FormatError } from '../../errors.js';
import { compileExpression, type Expression } from '../../io/expression.js';
import { isRecord } from '../../io/json.js';

/** The version of PEFT whose file layout is written. */
const PEFT_VERSION = '0.21.0';

const pattern = z.record(z.string(), z.number().positive()).nullish();
const textOrList = z.union([z.string(), z.array(z.string())]).nullish();
const layerIndex = z.number().int().min(0);
const rank = z.number().int().min(1).max(65536);

/**
 * What is read of adapter_config.json. Everything else must be a setting that changes nothing (see `CHANGES_MEANING`).
 */
const schema = z.object({
  peft_type: z.literal('LORA'),
  r: rank,
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(1).nullish(),
  target_modules: z.union([z.string(), z.array(z.string()).min(1)]),
  use_rslora: z.boolean().nullish(),
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: pattern,
  use_dora: z.boolean().nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  loftq_config: z
    .object({ loftq_bits: z.number().int().nullish(), loftq_iter: z.number().int().min(1).nullish() })
    .nullish(),
  exclude_modules: textOrList,
  layers_to_transform: z.union([layerIndex, z.array(layerIndex)]).nullish(),
  layers_pattern: textOrList,
  modules_to_save: z.array(z.string()).nullish(),
  trainable_token_indices: z.union([z.array(layerIndex), z.record(z.string(), z.array(layerIndex))]).nullish(),
  base_model_name_or_path: z.string().nullish(),
  revision: z.string().nullish(),
  task_type: z.string().nullish(),
});

export interface LoftqConfig {
  readonly loftq_bits: 4;
  readonly loftq_iter: number;
}

export type TokenIndices = readonly number[] | Readonly<Record<string, readonly number[]>>;

/** adapter_config.json, as far as it describes an adapter that this package can run. */
export interface LoraConfig {
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
  /**
   * The base model stores its linear weights `[in, out]`; off unless given. What a file says of it is not read: the
   * model knows.
   */
  readonly fanInFanOut?: boolean;
  /** The norm of each row of the weight is trained by itself; off unless given. */
  readonly useDora?: boolean;
  /** How a base that LoftQ prepared came to be; only with `initLoraWeights: 'loftq'`. */
  readonly loftqConfig?: LoftqConfig;
  readonly excludeModules?: string | readonly string[];
  readonly layersToTransform?: number | readonly number[];
  readonly layersPattern?: string | readonly string[];
  /** Modules of which the adapter has a trained copy. */
  readonly modulesToSave?: readonly string[];
  /** Rows of the embedding that are trained, or of several modules by their names. */
  readonly trainableTokenIndices?: TokenIndices;
  readonly baseModel: string | undefined;
  readonly revision: string | undefined;
}

/**
 * Fields that would change what the adapter computes, with the values that leave it one that can be run.
 * `fan_in_fan_out` only says how the base model stores its weight, and files say it wrongly: A and B have one form.
 */
const CHANGES_MEANING: Readonly<Record<string, (value: unknown) => boolean>> = {
  // These change the base's weights by numbers that the files do not hold.
  init_lora_weights: (value) => typeof value !== 'string' || !/^(?:olora|corda|lora_ga|pissa_niter_)/i.test(value),
  loftq_config: (value) => !isRecord(value) || (value['loftq_bits'] ?? 4) === 4,
  bias: (value) => isOff(value) || value === 'none',
  lora_bias: isOff,
  layer_replication: isOff,
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
export function parseLoraConfig(json: unknown, name = 'adapter_config.json'): LoraConfig {
  const config = parseLoraFields(json, name);
  const unsupported = unsupportedFields(json as Record<string, unknown>);
  if (unsupported.length > 0)
    throw new FormatError(`${name}: ${unsupported.map((field) => `${field} is not supported`).join('; ')}`);
  return config;
}

/** `key: value` of each field that asks for what cannot be run. */
export function unsupportedFields(fields: Readonly<Record<string, unknown>>): string[] {
  const unsupported = Object.entries(CHANGES_MEANING).filter(([key, harmless]) => !harmless(fields[key]));
  return unsupported.map(([key]) => `${key}: ${JSON.stringify(fields[key])}`);
}

/**
 * The fields of a LoRA adapter, whatever else the file asks for: see {@link unsupportedFields}.
 * @throws FormatError naming the file and each wrong field.
 */
export function parseLoraFields(json: unknown, name = 'adapter_config.json'): LoraConfig {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
    throw new FormatError(`${name}: ${problems.join('; ')}`);
  }
  const v = parsed.data;
  checkExpressions(v, name);
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
    ...(v.use_dora === true ? { useDora: true } : {}),
    ...(v.init_lora_weights === 'loftq'
      ? { loftqConfig: { loftq_bits: 4, loftq_iter: v.loftq_config?.loftq_iter ?? 1 } }
      : {}),
    ...given({
      excludeModules: v.exclude_modules,
      layersToTransform: v.layers_to_transform,
      layersPattern: v.layers_pattern,
      modulesToSave: v.modules_to_save,
      trainableTokenIndices: v.trainable_token_indices,
    }),
    baseModel: v.base_model_name_or_path ?? undefined,
    revision: v.revision ?? undefined,
  };
}

/**
 * @throws FormatError naming the file and each setting that is matched with the names of modules and is no regular
 * expression.
 */
function checkExpressions(v: z.infer<typeof schema>, name: string): void {
  const sources: [option: string, source: string][] = [
    ...[...Object.keys(v.rank_pattern ?? {})].map((key): [string, string] => ['rank_pattern', key]),
    ...[...Object.keys(v.alpha_pattern ?? {})].map((key): [string, string] => ['alpha_pattern', key]),
    ...(v.modules_to_save ?? []).map((key): [string, string] => ['modules_to_save', key]),
    ...[v.layers_pattern ?? []].flat().map((key): [string, string] => ['layers_pattern', key]),
  ];
  if (typeof v.target_modules === 'string') sources.push(['target_modules', v.target_modules]);
  if (typeof v.exclude_modules === 'string') sources.push(['exclude_modules', v.exclude_modules]);
  const problems = sources.flatMap(([option, source]) => {
    try {
      compileExpression(source, option);
      return [];
    } catch (error) {
      return [(error as Error).message];
    }
  });
  if (problems.length > 0) throw new FormatError(`${name}: ${problems.join('; ')}`);
}

/** The entries that say something: not null, not empty. */
function given<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const empty = (value: unknown): boolean =>
    value === undefined ||
    value === null ||
    (typeof value === 'object' && Object.keys(value).length === 0) ||
    value === '';
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !empty(value))) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

/** adapter_config.json as PEFT writes it: sorted keys, two spaces, no newline at the end. */
export function serializeLoraConfig(config: LoraConfig): string {
  const fields: Record<string, unknown> = {
    alpha_pattern: config.alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: config.baseModel ?? null,
    bias: 'none',
    exclude_modules: config.excludeModules ?? null,
    fan_in_fan_out: config.fanInFanOut ?? false,
    inference_mode: true,
    // See provenance.ts.
    init_lora_weights: config.initLoraWeights === 'loftq' ? true : config.initLoraWeights,
    layers_pattern: config.layersPattern ?? null,
    layers_to_transform: config.layersToTransform ?? null,
    loftq_config: {},
    lora_alpha: config.loraAlpha,
    lora_dropout: config.loraDropout,
    modules_to_save: config.modulesToSave ?? null,
    peft_type: 'LORA',
    peft_version: PEFT_VERSION,
    r: config.r,
    rank_pattern: config.rankPattern,
    revision: config.revision ?? null,
    target_modules: config.targetModules,
    task_type: 'CAUSAL_LM',
    trainable_token_indices: config.trainableTokenIndices ?? null,
    use_dora: config.useDora ?? false,
    use_rslora: config.useRslora,
  };
  return JSON.stringify(Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))), null, 2);
}

/** Scale of the low-rank update: alpha / r, or alpha / √r with rank stabilisation. */
export function loraScale(rank: number, alpha: number, useRslora: boolean): number {
  return useRslora ? alpha / Math.sqrt(rank) : alpha / rank;
}

/** What was compiled of rank_pattern and alpha_pattern: each is asked for every module. */
const compiled = new WeakMap<
  Readonly<Record<string, number>>,
  readonly { readonly pattern: Expression; readonly value: number }[]
>();

/**
 * The pattern's value for a module, or the default. A key is a regular expression for the end of the path (PEFT's
 * rule).
 * @throws ConfigError for a key that is none.
 */
export function patternValue(patterns: Readonly<Record<string, number>>, module: string, fallback: number): number {
  let entries = compiled.get(patterns);
  if (entries === undefined) {
    entries = Object.entries(patterns).map(([key, value]) => ({
      pattern: moduleEnd(key, 'rank_pattern or alpha_pattern'),
      value,
    }));
    compiled.set(patterns, entries);
  }
  return entries.find(({ pattern }) => pattern.matches(module))?.value ?? fallback;
}

function moduleEnd(source: string, option: string): Expression {
  // Compiled by itself first: what is wrong is then said of what was written, and a lone bracket cannot close the group
  // around it.
  compileExpression(source, option);
  return compileExpression(`(?:.*\\.)?(?:${source})`, option);
}
