import { checkTargets } from '../../../kernels/index.js';
import { lossInputs, lossSumOf, type LossInputs } from '../../model/loss.js';
import { withFewShapes } from './few-shapes.js';
import type { Objective, ObjectiveInputs } from './objective.js';

/** What {@link tokenMean} takes from a batch: token ids and targets. */
export interface TokenInputs extends LossInputs, ObjectiveInputs {}

/** Those of a batch that is already put together, for `lossSum` of {@link tokenMean}. */
export function tokenInputs(inputs: LossInputs): TokenInputs {
  const { batch, seq, ids, starts, targets } = inputs;
  const arrays = { ids, ...targets, ...(starts === undefined ? {} : { starts }) };
  return { ...inputs, arrays, shape: `${batch}x${seq}` };
}

/** Cross-entropy of the next token, with the same weight for every supervised token: L = Σ −log p / tokens. */
export const tokenMean: Objective<TokenInputs> = {
  name: 'token_mean',
  isCrossEntropy: true,
  metrics: [],
  itemCount: ({ supervisedCount }) => supervisedCount,
  inputs(decoder, batch, { training, fewShapes }) {
    const inputs = lossInputs(decoder, batch, training);
    if (!fewShapes) return tokenInputs(inputs);
    const targets = withFewShapes(inputs.targets);
    // A replayed step runs none of the checks of the ops.
    checkTargets(targets, targets.places.length, decoder.head.vocab);
    return tokenInputs({ ...inputs, targets });
  },
  lossSum: lossSumOf,
};
