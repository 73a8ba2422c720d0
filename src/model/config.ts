import type { Activation } from '../../kernels/index.js';
import { FormatError } from '../errors.js';
import { isRecord } from '../io/json.js';
import { ACTIVATIONS, type ActivationName } from './families/family.js';
import { FAMILIES, isModelType, type Family } from './families/registry.js';
import { Fields } from './fields.js';

/** How positions turn into rotations. Field names as in Hugging Face's `rope_parameters`. */
export interface RopeConfig {
  readonly theta: number;
  /** Dimensions of a head that are rotated, an even number; the rest pass through. */
  readonly rotaryDim: number;
  readonly scaling:
    | { readonly type: 'default' }
    | { readonly type: 'linear'; readonly factor: number }
    | {
        readonly type: 'llama3';
        readonly factor: number;
        readonly lowFreqFactor: number;
        readonly highFreqFactor: number;
        readonly originalMaxPositions: number;
      };
}

/** What a decoder needs to know, whatever the spelling of its config.json. */
export interface ModelConfig {
  readonly family: Family;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly normEps: number;
  readonly activation: Activation;
  /** Undefined where positions are learned. */
  readonly rope: RopeConfig | undefined;
  /** Attention and MLP both read the layer's input, and their outputs are added to it together. */
  readonly parallelResidual: boolean;
  /** Keys each layer's queries may see, themselves included; undefined sees all. One entry a layer. */
  readonly windows: readonly (number | undefined)[];
  readonly tiedHead: boolean;
  readonly bias: { readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean };
  readonly bosTokenIds: readonly number[];
  readonly eosTokenIds: readonly number[];
  /** `quantization_config` of a checkpoint that is already 4-bit, as found. */
  readonly quantization: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Reads a Hugging Face config.json in the spelling of transformers 4 or 5.
 * @throws FormatError naming file, field, what was found and what is allowed; all problems at once.
 */
export function parseModelConfig(json: unknown, name = 'config.json'): ModelConfig {
  if (!isRecord(json)) throw new FormatError(`${name}: must be a JSON object`);
  // Which compressed-tensors wrote by another name once. Told before the kind of model: those of no kind here are
  // mostly in 4 or 8 bits.
  checkQuantization(json['quantization_config'] ?? json['compression_config'], name);
  const modelType = json['model_type'];
  if (!isModelType(modelType)) {
    throw new FormatError(
      `${name}: model_type: found ${JSON.stringify(modelType) ?? 'nothing'}, allowed one of ${Object.keys(FAMILIES).join(', ')}`,
    );
  }
  const family = FAMILIES[modelType];
  const { defaults } = family;
  const fields = new Fields(json, name, '', family.spellings);
  const hiddenSize = fields.size('hidden_size');
  const numHeads = fields.size('num_attention_heads');
  const numLayers = fields.size('num_hidden_layers');
  if (numLayers > 4096) fields.problem('num_hidden_layers', numLayers, 'at most 4096');
  const numKvHeads = fields.size('num_key_value_heads', numHeads);
  if (numHeads % numKvHeads !== 0)
    fields.problem('num_key_value_heads', numKvHeads, `a divisor of num_attention_heads (${numHeads})`);
  if (!fields.has('head_dim') && hiddenSize % numHeads !== 0) {
    fields.problem(
      'hidden_size',
      hiddenSize,
      `a multiple of num_attention_heads (${numHeads}) where head_dim is not given`,
    );
  }
  const headDim = fields.size('head_dim', Math.max(1, Math.floor(hiddenSize / numHeads)));
  const maxPositions = fields.size('max_position_embeddings', 2048);
  const config: ModelConfig = {
    family,
    vocabSize: fields.size('vocab_size'),
    hiddenSize,
    intermediateSize: fields.size(
      'intermediate_size',
      defaults.mlpRatio === undefined ? undefined : defaults.mlpRatio * hiddenSize,
    ),
    numLayers,
    numHeads,
    numKvHeads,
    headDim,
    maxPositions,
    normEps: fields.positive('rms_norm_eps', defaults.normEps),
    activation: readActivation(fields, family),
    rope: family.positions === 'learned' ? undefined : readRope(fields, headDim, maxPositions, defaults.partialRotary),
    parallelResidual: family.parallelResidual(fields),
    windows: readWindows(fields, family, Math.min(numLayers, 4096)),
    tiedHead: fields.flag('tie_word_embeddings', defaults.tiedHead),
    bias: family.bias(fields),
    bosTokenIds: fields.ids('bos_token_id'),
    eosTokenIds: fields.ids('eos_token_id'),
    quantization: isRecord(json['quantization_config']) ? json['quantization_config'] : undefined,
  };
  for (const [key, value] of Object.entries(family.fixed)) fields.fixed(key, value);
  fields.finish();
  return config;
}

/** @throws FormatError for weights that were quantised otherwise than bitsandbytes does to 4 bits. */
function checkQuantization(quantization: unknown, name: string): void {
  if (!isRecord(quantization)) return;
  const method = quantization['quant_method'] ?? 'bitsandbytes';
  const eight = method === 'bitsandbytes' && quantization['load_in_8bit'] === true;
  if (method === 'bitsandbytes' && !eight) return;
  const found = eight ? 'bitsandbytes in 8 bits (LLM.int8)' : (JSON.stringify(method) ?? 'nothing');
  throw new FormatError(
    `${name}: quantization_config: found ${found.slice(0, 60)}, allowed bitsandbytes in 4 bits: give the float model that it was made from; quantization.load_in_4bit quantises it here`,
  );
}

function readActivation(fields: Fields, { activations, defaults }: Family): Activation {
  const name = fields.oneOf('hidden_act', Object.keys(ACTIVATIONS) as ActivationName[], defaults.activation);
  return activations[name] ?? ACTIVATIONS[name];
}

function readRope(fields: Fields, headDim: number, maxPositions: number, partialByDefault: number): RopeConfig {
  // transformers 5 puts everything into rope_parameters; 4 has rope_theta beside rope_scaling, whose type may be called
  // `type`.
  const parameters = fields.section('rope_parameters');
  const scaling = fields.has('rope_parameters') ? parameters : fields.section('rope_scaling');
  const theta = parameters.has('rope_theta') ? parameters.positive('rope_theta') : fields.positive('rope_theta', 10000);
  const partial = parameters.has('partial_rotary_factor')
    ? parameters.positive('partial_rotary_factor')
    : fields.positive('partial_rotary_factor', partialByDefault);
  const rotaryDim = Math.floor(headDim * partial);
  if (rotaryDim % 2 !== 0 || rotaryDim < 2 || rotaryDim > headDim)
    fields.problem('head_dim', headDim, 'a size whose rotated part is even, at least 2 and no larger');
  const types = ['default', 'linear', 'llama3'] as const;
  const type =
    scaling.has('rope_type') || !scaling.has('type')
      ? scaling.oneOf('rope_type', types, 'default')
      : scaling.oneOf('type', types);
  if (type === 'default') return { theta, rotaryDim, scaling: { type } };
  const factor = scaling.positive('factor');
  if (type === 'linear') return { theta, rotaryDim, scaling: { type, factor } };
  return {
    theta,
    rotaryDim,
    scaling: {
      type,
      factor,
      lowFreqFactor: scaling.positive('low_freq_factor'),
      highFreqFactor: scaling.positive('high_freq_factor'),
      originalMaxPositions: scaling.size('original_max_position_embeddings', maxPositions),
    },
  };
}

/** `layer_types` says it layer by layer where it is given; older files only give the window and the family's habit. */
function readWindows(fields: Fields, family: Family, numLayers: number): (number | undefined)[] {
  const enabled = fields.has('sliding_window') && fields.flag('use_sliding_window', family.windowByDefault);
  const window = enabled ? fields.size('sliding_window') : undefined;
  const types = fields.raw('layer_types');
  if (Array.isArray(types)) {
    if (types.length !== numLayers || !types.every((t) => t === 'full_attention' || t === 'sliding_attention')) {
      fields.problem('layer_types', types, `${numLayers} entries, each full_attention or sliding_attention`);
    }
    return Array.from({ length: numLayers }, (_, i) => (types[i] === 'sliding_attention' ? window : undefined));
  }
  const first = family.windowByDefault ? 0 : fields.size('max_window_layers', numLayers);
  return Array.from({ length: numLayers }, (_, i) => (i >= first ? window : undefined));
}
