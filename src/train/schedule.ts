import type { RunConfig } from '../config/schema.js';

export type SchedulerType = RunConfig['training']['lr_scheduler_type'];

/**
 * Factor on the learning rate at an optimiser step (0-based), as transformers' schedulers compute it. The warm-up rises
 * from 0, so the first step of a run with one moves no weight; cosine and linear end at 0 after the last step.
 */
export function learningRateFactor(type: SchedulerType, step: number, warmupSteps: number, totalSteps: number): number {
  if (type === 'constant') return 1;
  if (step < warmupSteps) return step / Math.max(1, warmupSteps);
  if (type === 'constant_with_warmup') return 1;
  const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
  return type === 'linear' ? Math.max(0, 1 - progress) : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** Warm-up steps of a run: `warmup_steps` where given, else `warmup_ratio` of all steps, rounded up. */
export function warmupStepsOf(
  options: { readonly warmup_steps: number; readonly warmup_ratio: number },
  totalSteps: number,
): number {
  return options.warmup_steps > 0 ? options.warmup_steps : Math.ceil(totalSteps * options.warmup_ratio);
}

/** As in Hugging Face's TrainingArguments. */
export const DEFAULT_SAVE_STEPS = 500;

/** Optimiser steps of one epoch: micro-batches are grouped within the epoch, and its last group may be smaller. */
export function stepsPerEpoch(exampleCount: number, batchSize: number, accumulation: number): number {
  return Math.ceil(Math.ceil(exampleCount / batchSize) / accumulation);
}

/** Optimiser steps of a run. */
export function totalStepsOf(exampleCount: number, options: RunConfig['training']): number {
  if (options.max_steps > 0) return options.max_steps;
  const perEpoch = stepsPerEpoch(
    exampleCount,
    options.per_device_train_batch_size,
    options.gradient_accumulation_steps,
  );
  return Math.max(1, Math.ceil(perEpoch * options.num_train_epochs));
}
