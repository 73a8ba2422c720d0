import { ConfigError, FormatError } from '../errors.js';
import type { Directory } from '../io/directory.js';
import type { EvalMetrics } from '../train/metrics.js';
import { readProgress } from '../train/run-state.js';
import { inputDifferences, readInputs, type RunInputs } from './inputs.js';
import { manifestProblem } from './manifest.js';

/** What is told of a checkpoint beside its files. */
export interface CheckpointInfo {
  /** Its name by custom: `checkpoint-<step>`. */
  readonly name: string;
  readonly step: number;
  readonly totalSteps: number;
  /** The best evaluation so far. */
  readonly best: EvalMetrics | undefined;
}

/** The folder's name of the checkpoint after a step. */
export function checkpointName(step: number): string {
  return `checkpoint-${step}`;
}

/** The step in the name of a checkpoint's folder; undefined for other names. */
export function checkpointStep(name: string): number | undefined {
  const digits = /^checkpoint-(\d+)$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * Makes sure that a run may go on from a checkpoint.
 * @param force allows inputs that have changed; they are told to `note`.
 * @returns the step that it was made after.
 * @throws FormatError when it is not whole; ConfigError naming everything that has changed since.
 */
export async function admitCheckpoint(
  checkpoint: Directory,
  inputs: RunInputs,
  {
    config,
    force,
    note,
  }: {
    readonly config: Parameters<typeof inputDifferences>[2];
    readonly force: boolean;
    readonly note: (text: string) => void;
  },
): Promise<number> {
  const problem = await manifestProblem(checkpoint);
  if (problem !== undefined) throw new FormatError(`${checkpoint.name} is no whole checkpoint: ${problem}`);
  const { step } = await readProgress(checkpoint);
  const differences = inputDifferences(await readInputs(checkpoint), inputs, config);
  if (differences.length === 0) return step;
  const list = differences.map((difference) => `\n  ${difference}`).join('');
  if (!force)
    throw new ConfigError(`${checkpoint.name} is of another run:${list}\n--force goes on from it all the same`);
  note(`going on although the run was another (--force):${list}`);
  return step;
}
