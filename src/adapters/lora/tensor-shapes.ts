import type { ModelConfig } from '../../model/config.js';
import { linearLayers } from '../../model/tensors.js';
import type { TensorShapes } from '../adapter.js';
import { loraLayout, type LoraUpdate } from './layout.js';
import type { LoraConfig } from './config.js';
import { shapeMismatches } from '../peft/tensors.js';

const PREFIX = 'base_model.model.';

/** Size of a linear layer that an adapter may sit on. */
export interface LinearSize {
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** `base_model.model.<module>.lora_A.weight`, as PEFT spells it; an embedding's is `….lora_embedding_A`. */
export function loraKey(module: string, factor: 'A' | 'B', kind: LoraUpdate['kind'] = 'linear'): string {
  return kind === 'embedding'
    ? `${PREFIX}${module}.lora_embedding_${factor}`
    : `${PREFIX}${module}.lora_${factor}.weight`;
}

/** Key of DoRA's magnitudes, `[out]`. */
export function magnitudeKey(module: string): string {
  return `${PREFIX}${module}.lora_magnitude_vector`;
}

/** Key of a tensor of a module that is trained as a whole. */
export function copyKey(module: string, tensor: string): string {
  return `${PREFIX}${module}.${tensor}`;
}

/** Key of the trained rows of an embedding or output layer, `[rows, hidden]`. */
export function tokenRowsKey(module: string): string {
  return `${PREFIX}${module}.token_adapter.trainable_tokens_delta`;
}

/** Every linear layer of a model by its module path, in the decoder's order; known from config.json alone. */
export function linearSizes(config: ModelConfig): Map<string, LinearSize> {
  return new Map(
    linearLayers(config).map(({ name, shape: [outFeatures, inFeatures] }) => [name, { inFeatures, outFeatures }]),
  );
}

/**
 * The tensors that an adapter's file holds, with their shapes. @throws ConfigError when its settings do not fit the
 * model.
 */
export function loraTensors(model: ModelConfig, config: LoraConfig): Map<string, readonly number[]> {
  const { updates, copies, rows } = loraLayout(model, config);
  const expected = new Map<string, readonly number[]>();
  for (const { module, kind, rank, inFeatures, outFeatures, magnitude } of updates) {
    expected.set(loraKey(module, 'A', kind), [rank, inFeatures]);
    expected.set(loraKey(module, 'B', kind), [outFeatures, rank]);
    if (magnitude) expected.set(magnitudeKey(module), [outFeatures]);
  }
  for (const { module, shapes } of copies)
    for (const [name, shape] of Object.entries(shapes)) expected.set(copyKey(module, name), shape);
  for (const { module, kind, indices } of rows) {
    // A tied head's rows are the embedding's.
    if (!(kind === 'head' && model.tiedHead && rows.length === 2))
      expected.set(tokenRowsKey(module), [indices.length, model.hiddenSize]);
  }
  return expected;
}

/**
 * Everything that keeps saved LoRA tensors from being used on a model: missing, misshapen and unexpected tensors, one
 * sentence each; empty when they fit.
 * @throws ConfigError when the settings match no layer.
 */
export function loraMismatches(model: ModelConfig, config: LoraConfig, tensors: TensorShapes): string[] {
  const copies = new Set(baseCopies(model, config, tensors).map(({ key }) => key));
  const own = new Map([...tensors].filter(([key]) => !copies.has(key)));
  const misshapen = [...copies].flatMap((key) => {
    const { shape = [] } = tensors.get(key) ?? {};
    const wanted = key.endsWith('.bias') ? [model.vocabSize] : [model.vocabSize, model.hiddenSize];
    return shape.join() === wanted.join()
      ? []
      : [`${key} is [${shape.join(', ')}], expected [${wanted.join(', ')}]: the embedding of its base has other rows`];
  });
  return [...shapeMismatches(loraTensors(model, config), own), ...misshapen];
}

/** A weight of the base beside an adapter. */
export interface BaseCopy {
  readonly key: string;
  readonly module: string;
  readonly tensor: 'weight' | 'bias';
  /** Whether it is what an adapter of its own lies on. */
  readonly adapted: boolean;
}

/**
 * The whole weights (and the bias) of embedding and output layer that PEFT puts beside an adapter
 * (save_embedding_layers) although modules_to_save does not name them.
 */
export function baseCopies(model: ModelConfig, config: LoraConfig, tensors: TensorShapes): BaseCopy[] {
  const { embedding, head } = model.family.modules;
  const { copies, updates, rows } = loraLayout(model, config);
  return [embedding, head].flatMap((module) => {
    if (copies.some((copy) => copy.module === module)) return [];
    const adapted = [...updates, ...rows].some((each) => each.module === module);
    const names = module === head && model.family.headBias ? (['weight', 'bias'] as const) : (['weight'] as const);
    return names.flatMap((tensor) =>
      [copyKey(module, tensor), `${PREFIX}${module}.base_layer.${tensor}`]
        .filter((key) => tensors.has(key))
        .map((key) => ({ key, module, tensor, adapted: adapted || key.includes('.base_layer.') })),
    );
  });
}
