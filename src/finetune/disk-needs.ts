import type { RunConfig } from '../config/schema.js';
import type { DataSplits } from '../data/split.js';
import { DEFAULT_SAVE_STEPS, totalStepsOf } from '../train/schedule.js';

/** Bytes that a run will write, as far as they can be told before it is begun. */
export interface DiskNeeds {
  /**
   * Of one checkpoint: values and the optimiser's slots of each trained parameter in float32, the adapter, and that of
   * the best evaluation.
   */
  readonly checkpointBytes: number;
  /** Checkpoints on the disk at a time: a new one is written before an old one is removed. */
  readonly checkpoints: number;
  /** The trained tensors. */
  readonly resultBytes: number;
  readonly total: number;
}

export interface DiskRequest {
  readonly training: RunConfig['training'];
  /** Of the trained parameters as float32. */
  readonly trainedBytes: number;
  /** Of what the optimiser keeps of them. */
  readonly slotBytes: number;
  readonly totalSteps: number;
  readonly doneSteps: number;
  /** Optimiser steps of an epoch. */
  readonly epochSteps: number;
  /** Whether there are validation rows, by which a best evaluation is known. */
  readonly validated: boolean;
}

/** Configs, records, tokenizers and logs: small beside tensors. */
const SMALL_BYTES = 4 * 2 ** 20;

export function diskNeeds({
  training,
  trainedBytes,
  slotBytes,
  totalSteps,
  doneSteps,
  epochSteps,
  validated,
}: DiskRequest): DiskNeeds {
  const checkpointBytes = trainedBytes * (validated ? 3 : 2) + slotBytes;
  const every =
    training.save_strategy === 'epoch' ? Math.max(1, epochSteps) : (training.save_steps ?? DEFAULT_SAVE_STEPS);
  // At multiples of `every`, and after the last step.
  const made = training.save_strategy === 'no' ? 0 : Math.ceil(totalSteps / every) - Math.floor(doneSteps / every);
  const kept = Math.min(
    made,
    training.save_total_limit === undefined ? made : Math.max(training.save_total_limit, validated ? 2 : 1),
  );
  const checkpoints = kept + (made > kept ? 1 : 0);
  return {
    checkpointBytes,
    checkpoints,
    resultBytes: trainedBytes,
    total: checkpoints * checkpointBytes + trainedBytes + SMALL_BYTES,
  };
}

/** {@link diskNeeds} of a run whose rows are read. */
export function diskNeedsOf(
  { training }: Pick<RunConfig, 'training'>,
  { train: { examples }, validation }: DataSplits,
  { trainedBytes, slotBytes }: Pick<DiskRequest, 'trainedBytes' | 'slotBytes'>,
  doneSteps = 0,
): DiskNeeds {
  return diskNeeds({
    training,
    trainedBytes,
    slotBytes,
    totalSteps: totalStepsOf(examples.length, training),
    doneSteps,
    epochSteps: totalStepsOf(examples.length, { ...training, max_steps: 0, num_train_epochs: 1 }),
    validated: validation !== undefined,
  });
}

/**
 * Bytes of several runs in one folder. A finished run keeps its result alone: checkpoints are there of those that are
 * made at a time.
 * @param atOnce runs that are made at a time
 */
export function jointDiskBytes(needs: readonly DiskNeeds[], atOnce: number): number {
  const checkpoints = needs.map((each) => each.checkpoints * each.checkpointBytes).sort((a, b) => b - a);
  return (
    needs.reduce((sum, { resultBytes }) => sum + resultBytes + SMALL_BYTES, 0) +
    checkpoints.slice(0, atOnce).reduce((sum, bytes) => sum + bytes, 0)
  );
}
