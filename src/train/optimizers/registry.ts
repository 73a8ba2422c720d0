import type * as tf from '@tensorflow/tfjs-core';
import type { RunConfig } from '../../config/schema.js';
import { FlatAdamW } from './flat.js';
import type { AdamWOptions, Optimizer } from './optimizer.js';
import { PagedAdamW } from './paged.js';
import { AdamW } from './resident.js';

export type OptimizerType = RunConfig['training']['optim'];

/** How each `training.optim` is made. */
export const OPTIMIZERS = {
  adamw: (parameters, options, scales = [], spared = []) =>
    FlatAdamW.fits(parameters)
      ? new FlatAdamW(parameters, options, scales, spared)
      : new AdamW(parameters, options, scales, spared),
  paged_adamw: (parameters, options, scales = [], spared = []) => new PagedAdamW(parameters, options, scales, spared),
} as const satisfies Record<
  OptimizerType,
  (
    parameters: readonly tf.Variable[],
    options: AdamWOptions,
    learningRateScales?: readonly number[],
    spared?: readonly boolean[],
  ) => Optimizer
>;
