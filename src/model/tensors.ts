import * as tf from '@tensorflow/tfjs-core';
import { FormatError } from '../errors.js';
import type { Checkpoint } from '../io/weights-file.js';
import type { ModelConfig } from './config.js';
import type { LinearRole } from './families/family.js';

/** A linear layer of the decoder, as config.json alone tells it. */
export interface LinearLayer {
  /** Module path in the checkpoint. */
  readonly name: string;
  /** Decoder layer that it belongs to. */
  readonly layer: number;
  readonly role: LinearRole;
  readonly shape: readonly [out: number, inner: number];
  readonly bias: boolean;
}

/** A tensor that stays float32 on the device: embeddings, norms, the output head. */
export interface FloatTensor {
  readonly name: string;
  readonly shape: readonly [number] | readonly [number, number];
  /** Added to the stored values. */
  readonly offset: number;
}

/** `[out, in]` of a linear layer by the part it plays, whether or not the family has such a layer. */
export function linearShapes(config: ModelConfig): Record<LinearRole, readonly [out: number, inner: number]> {
  const { hiddenSize: h, intermediateSize: f, numHeads, numKvHeads, headDim } = config;
  const [q, kv] = [numHeads * headDim, numKvHeads * headDim];
  return {
    q: [q, h],
    k: [kv, h],
    v: [kv, h],
    qkv: [q + 2 * kv, h],
    o: [h, q],
    gate: [f, h],
    up: [f, h],
    gateUp: [2 * f, h],
    down: [h, f],
  };
}

/** All linear layers but the output head, in the order in which they run. */
export function linearLayers(config: ModelConfig): LinearLayer[] {
  const { modules } = config.family;
  const shapes = linearShapes(config);
  const roles = Object.entries(modules.linears) as [LinearRole, string][];
  return Array.from({ length: config.numLayers }, (_, layer) =>
    roles.map(([role, path]) => ({
      name: `${modules.layer(layer)}.${path}`,
      layer,
      role,
      shape: shapes[role],
      bias: config.bias[BIAS_OF[role]],
    })),
  ).flat();
}

const BIAS_OF = {
  ...{ q: 'qkv', k: 'qkv', v: 'qkv', qkv: 'qkv', o: 'output' },
  ...{ gate: 'mlp', up: 'mlp', gateUp: 'mlp', down: 'mlp' },
} as const satisfies Record<LinearRole, keyof ModelConfig['bias']>;

/** Everything that is no linear layer of {@link linearLayers}. */
export function floatTensors(config: ModelConfig): FloatTensor[] {
  const { family, numLayers, vocabSize, hiddenSize, headDim } = config;
  const { modules } = family;
  const plain = (name: string, shape: FloatTensor['shape']): FloatTensor => ({ name, shape, offset: 0 });
  const norm = (name: string, size = hiddenSize): FloatTensor[] => [
    { name: `${name}.weight`, shape: [size], offset: family.normOffset },
    ...(family.norm === 'layer' ? [plain(`${name}.bias`, [size])] : []),
  ];
  const inLayer = (layer: number, path: string | undefined, size?: number): FloatTensor[] =>
    path === undefined ? [] : norm(`${modules.layer(layer)}.${path}`, size);
  return [
    plain(`${modules.embedding}.weight`, [vocabSize, hiddenSize]),
    ...(modules.positions === undefined
      ? []
      : [plain(`${modules.positions}.weight`, [config.maxPositions, hiddenSize])]),
    ...Array.from({ length: numLayers }, (_, i) => [
      ...[...inLayer(i, modules.attentionNorm), ...inLayer(i, modules.mlpNorm)],
      ...[...inLayer(i, modules.queryNorm, headDim), ...inLayer(i, modules.keyNorm, headDim)],
    ]).flat(),
    ...norm(modules.finalNorm),
    ...(config.tiedHead ? [] : [plain(`${modules.head}.weight`, [vocabSize, hiddenSize])]),
    ...(family.headBias ? [plain(`${modules.head}.bias`, [vocabSize])] : []),
  ];
}

/**
 * How the checkpoint stores a module's weight: `linear` is `[out, in]`, `conv1d` (GPT-2) is `[in, out]`. The decoder
 * holds `[out, in]`.
 */
export function weightLayout(config: ModelConfig, module: string): 'linear' | 'conv1d' {
  const { modules, weightLayout: layout } = config.family;
  return [modules.head, modules.embedding, modules.positions].includes(module) ? 'linear' : layout;
}

/** Every tensor the decoder needs, with its shape in the checkpoint. */
export function expectedTensors(config: ModelConfig): Map<string, readonly number[]> {
  const linears = linearLayers(config).flatMap(({ name, shape: [out, inner], bias }): [string, readonly number[]][] => [
    [`${name}.weight`, weightLayout(config, name) === 'conv1d' ? [inner, out] : [out, inner]],
    ...(bias ? [[`${name}.bias`, [out]] as [string, readonly number[]]] : []),
  ]);
  return new Map([
    ...floatTensors(config).map(({ name, shape }): [string, readonly number[]] => [name, shape]),
    ...linears,
  ]);
}

/** What checkpoints call a tensor of the head, where that differs. */
function storedHead({ family: { modules } }: ModelConfig, name: string): string | undefined {
  const { head, storedHead: stored } = modules;
  return stored !== undefined && name.startsWith(`${head}.`) ? `${stored}${name.slice(head.length)}` : undefined;
}

/**
 * Where each expected tensor lies in the checkpoint. One of a model without its head leaves out the common start of all
 * names; a tied model may store only one of embedding and head, and some files say so in their metadata.
 * @throws FormatError listing everything missing or misshapen.
 */
export function resolveNames(config: ModelConfig, checkpoint: Checkpoint): Map<string, string> {
  const { modules } = config.family;
  const found = new Map<string, string>();
  const problems: string[] = [];
  let allFloats = true;
  for (const [name, shape] of expectedTensors(config)) {
    const tied =
      config.tiedHead && name === `${modules.embedding}.weight`
        ? [`${modules.head}.weight`, storedHead(config, `${modules.head}.weight`)]
        : [];
    const bare = name.startsWith(modules.base) ? name.slice(modules.base.length) : undefined;
    const stored = [storedHead(config, name), name, bare, checkpoint.metadata[name], ...tied].find(
      (candidate) => candidate !== undefined && checkpoint.has(candidate),
    );
    if (stored === undefined) {
      problems.push(`${name}: missing, expected [${shape.join(', ')}]`);
      continue;
    }
    found.set(name, stored);
    const quantised = config.quantization !== undefined && checkpoint.has(`${stored}.absmax`);
    const { shape: actual, dtype } = checkpoint.info(stored);
    allFloats &&= quantised || FLOAT_DTYPES.has(dtype);
    if (!quantised && !tf.util.arraysEqual([...actual], [...shape])) {
      problems.push(`${name}: found [${actual.join(', ')}], config.json says [${shape.join(', ')}]`);
    }
  }
  // Weights in 8 bits have the shapes of the float weights.
  const kind = problems.length === 0 && allFloats ? undefined : otherQuantization(checkpoint.names());
  if (kind !== undefined)
    throw new FormatError(
      `${checkpoint.name}: the weights are quantised as ${kind}, which is not read: give the float model that they were made from`,
    );
  if (problems.length === 0) return found;
  throw new FormatError(`${checkpoint.name}: the weights do not fit config.json: ${problems.join('; ')}`);
}

const FLOAT_DTYPES: ReadonlySet<string> = new Set(['F32', 'F16', 'BF16', 'F64']);

/** How the weights of a model are quantised whose config.json does not say it, by the names of their tensors. */
function otherQuantization(names: readonly string[]): string | undefined {
  const has = (ending: string): boolean => names.some((name) => name.endsWith(ending));
  if (has('.qweight')) return 'GPTQ or AWQ';
  if (has('.weight_packed') || has('.weight_scale') || has('.weight_scale_inv')) return 'fp8 or compressed-tensors';
  if (has('.SCB')) return 'bitsandbytes in 8 bits (LLM.int8)';
  return has('_blocks') && has('_scales') ? 'mxfp4' : undefined;
}
