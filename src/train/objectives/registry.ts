import type { RunConfig } from '../../config/schema.js';
import type { Objective } from './objective.js';
import { sequenceMean } from './sequence-mean.js';
import { tokenMean } from './token-mean.js';

/** A value of `training.objective`. */
export type ObjectiveName = RunConfig['training']['objective'];

/** The objective of each `training.objective`; a name without an entry does not compile. */
export const OBJECTIVES: { readonly [name in ObjectiveName]: Objective } = {
  token_mean: tokenMean,
  sequence_mean: sequenceMean,
};
