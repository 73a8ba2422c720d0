import type { ModelConfig } from '../model/config.js';
import { linearLayers } from '../model/tensors.js';
import { patternValue, type PeftConfig } from './peft-config.js';
import { matchTargets } from './targets.js';

const PREFIX = 'base_model.model.';

/** Size of a linear layer that an adapter may sit on. */
export interface LinearSize {
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** `base_model.model.<module>.lora_A.weight`, as PEFT spells it. */
export function loraKey(module: string, part: 'A' | 'B'): string {
  return `${PREFIX}${module}.lora_${part}.weight`;
}

/** Every linear layer of a model by its module path, in the decoder's order; known from config.json alone. */
export function linearSizes(config: ModelConfig): Map<string, LinearSize> {
  return new Map(linearLayers(config).map(({ name, shape: [outFeatures, inFeatures] }) => [name, { inFeatures, outFeatures }]));
}

/**
 * Everything that keeps saved LoRA tensors from being used on these layers: missing, misshapen and unexpected tensors, one
 * sentence each; empty when they fit.
 * @throws ConfigError when target_modules matches no layer.
 */
export function loraMismatches(
  linears: ReadonlyMap<string, LinearSize>,
  config: PeftConfig,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): string[] {
  const expected = new Map<string, readonly number[]>();
  for (const target of matchTargets([...linears.keys()], config.targetModules)) {
    const { inFeatures, outFeatures } = linears.get(target) as LinearSize;
    const rank = patternValue(config.rankPattern, target, config.r);
    expected.set(loraKey(target, 'A'), [rank, inFeatures]);
    expected.set(loraKey(target, 'B'), [outFeatures, rank]);
  }
  const problems: string[] = [];
  for (const [key, shape] of expected) {
    const found = tensors.get(key)?.shape;
    if (found === undefined) problems.push(`${key}: missing, expected [${shape.join(', ')}]`);
    else if (found.join() !== shape.join()) problems.push(`${key}: found [${found.join(', ')}], expected [${shape.join(', ')}]`);
  }
  for (const key of tensors.keys()) if (!expected.has(key)) problems.push(`${key}: unexpected: no target module of this model takes it`);
  return problems;
}
