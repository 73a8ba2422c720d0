import type * as tf from '@tensorflow/tfjs-core';
import type { Decoder } from '../../model/decoder.js';
import type { Objective } from '../objectives/objective.js';
import { FlatOptimizer } from '../optimizers/flat.js';
import type { Optimizer } from '../optimizers/optimizer.js';
import { EagerAccumulator } from './eager.js';
import { ReplayedAccumulator } from './replayed.js';

/**
 * How this optimiser's gradients are made on the current backend.
 * @param onRefused told why steps of a shape are not replayed
 */
export function createAccumulator(
  decoder: Decoder,
  parameters: readonly tf.Variable[],
  objective: Objective,
  optimizer: Optimizer,
  onRefused?: (reason: string) => void,
): ReplayedAccumulator | EagerAccumulator {
  return FlatOptimizer.fits(parameters)
    ? new ReplayedAccumulator(
        decoder,
        parameters,
        objective,
        optimizer instanceof FlatOptimizer ? optimizer : undefined,
        onRefused,
      )
    : new EagerAccumulator(decoder, parameters, objective);
}
