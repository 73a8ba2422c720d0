import type * as tf from '@tensorflow/tfjs-core';
import type { RunConfig } from '../../config/schema.js';
import { adamw } from './adamw.js';
import { FlatOptimizer } from './flat.js';
import { lion } from './lion.js';
import type { Optimizer, OptimizerOptions, ParameterOptions, UpdateRule } from './optimizer.js';
import { PagedOptimizer } from './paged.js';
import { ResidentOptimizer } from './resident.js';
import { sgd } from './sgd.js';

export type OptimizerType = RunConfig['training']['optim'];

/** What a `training.optim` stands for. */
export interface OptimizerDefinition {
  readonly rule: (options: OptimizerOptions) => UpdateRule;
  /** Its slots are in host memory. */
  readonly paged: boolean;
  /** The same with its slots in host memory. */
  readonly pagedForm?: OptimizerType;
}

/** The optimiser of each `training.optim`, with the names of Hugging Face; a name without an entry does not compile. */
export const OPTIMIZERS: { readonly [name in OptimizerType]: OptimizerDefinition } = {
  adamw: { rule: adamw, paged: false, pagedForm: 'paged_adamw' },
  paged_adamw: { rule: adamw, paged: true },
  lion_32bit: { rule: lion, paged: false, pagedForm: 'paged_lion_32bit' },
  paged_lion_32bit: { rule: lion, paged: true },
  sgd: { rule: sgd, paged: false },
};

export function createOptimizer(
  type: OptimizerType,
  parameters: readonly tf.Variable[],
  options: OptimizerOptions,
  of: ParameterOptions = {},
): Optimizer {
  const { rule, paged } = OPTIMIZERS[type];
  const made = rule(options);
  if (paged) return new PagedOptimizer(made, parameters, of);
  return FlatOptimizer.fits(parameters, made)
    ? new FlatOptimizer(made, parameters, of)
    : new ResidentOptimizer(made, parameters, of);
}
