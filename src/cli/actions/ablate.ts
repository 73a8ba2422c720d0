import { join } from 'node:path';
import type { AblationConfig } from '../../ablation/config.js';
import type { RunEstimate } from '../../ablation/estimate.js';
import { ABLATION_FILE } from '../../ablation/files.js';
import type { AblationRequest, AblationState } from '../../ablation/request.js';
import type { AblationRun } from '../../ablation/runs.js';
import { describeRecommendations } from '../../ablation/summary.js';
import { tableOf } from '../../ablation/table.js';
import { LowrankError } from '../../errors.js';
import { formatBytes, formatDuration } from '../../format.js';
import { ablateToFolder, planAblation, type FolderAblationResult } from '../../workspace/ablation/ablate-to-folder.js';
import { jobProgress, jobsFor, shareRuns } from '../../workspace/ablation/local-jobs.js';
import { InterruptedError, watchInterrupts } from '../../workspace/interrupt.js';
import { describeDevice, tell } from '../options.js';
import { createAblationProgress } from '../view/ablation-progress.js';
import { formatTable } from '../view/table.js';
import { print, printExact } from '../view/terminal.js';

/** What commander gives the action. */
export interface AblateFlags {
  readonly set: readonly string[];
  readonly output?: string;
  readonly retry?: true;
  readonly estimate: boolean;
  readonly queue?: string;
  readonly jobs?: number;
  /** In a process of several: its runs, parted by commas. */
  readonly only?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

/**
 * Makes the runs of an ablation that are not finished, and writes its tables after each.
 * With a queue workers make them; the tables are the same.
 * @throws InterruptedError after a signal; LowrankError when runs have failed, after all others.
 */
export async function runAblate(file: string, flags: AblateFlags): Promise<void> {
  const { ablation, runs: all } = await planAblation(file, { output: flags.output, set: flags.set });
  const own = flags.only?.split(',');
  const runs = own === undefined ? all : all.filter(({ id }) => own.includes(id));
  if (flags.dryRun === true) return listRuns(runs);
  let seconds: number | undefined;
  const abort = new AbortController();
  const progress =
    own === undefined
      ? createAblationProgress(runs, () => seconds)
      : jobProgress(() => {
          abort.abort();
        });
  const interrupts = watchInterrupts(() => {
    abort.abort();
    if (own === undefined)
      progress.log(
        flags.queue === undefined
          ? 'stopping after this micro-batch or task; once more to stop at once'
          : 'leaving; the workers go on',
      );
  });
  let state: FolderAblationResult;
  try {
    state = await ablateToFolder(
      { ablation, runs },
      {
        retry: flags.retry === true,
        estimate: flags.estimate,
        jobs: flags.jobs,
        signal: abort.signal,
        tables: own === undefined,
        outputOption: flags.output === undefined ? 'output_dir' : '--output',
        onMessage: tell,
        make: makerOf(ablation, flags.queue),
        elsewhere: async (pending, known) => {
          const jobs = own === undefined ? jobsFor({ asked: flags.jobs, runs: pending, ...known }) : 1;
          if (jobs === 1) return undefined;
          const args = [
            file,
            '--output',
            ablation.outputDir,
            ...flags.set.flatMap((option) => ['--set', option]),
            ...(flags.retry === true ? ['--retry'] : []),
          ];
          return () =>
            shareRuns(pending, jobs, { args, estimates: known.estimates, progress, stopped: () => interrupts.signal });
        },
        callbacks: {
          onNote: (note) => progress.log(note),
          onDevice: (device) => {
            if (own === undefined) progress.log(describeDevice(device));
          },
          onEstimate: (estimates) => {
            seconds = estimates.reduce((sum, estimate) => sum + estimate.seconds, 0);
            progress.log(describeEstimates(estimates, seconds, runs.length));
          },
          onKnown: (run, { finished }) =>
            progress.set(
              run,
              finished === undefined
                ? { state: 'failed' }
                : { state: 'done', validation: finished.result.validation_loss },
            ),
          onRun: (run, { totalSteps, doneSteps }) => progress.set(run, { state: 'runs', totalSteps, step: doneSteps }),
          onStep: (run, { step, loss, tokens_per_second: tokensPerSecond }) =>
            progress.set(run, { step, loss, tokensPerSecond }),
          onEvaluate: (run, { eval_loss: validation }) => progress.set(run, { validation }),
          onFinished: (run, { result, timings }) => {
            progress.set(run, {
              state: 'done',
              validation: result.validation_loss,
              ...(timings === undefined ? {} : { tokensPerSecond: timings.tokens_per_second }),
            });
          },
          onFailed: (run, error) => {
            progress.set(run, { state: 'failed' });
            progress.log(`run ${run.id} failed: ${error}`);
          },
        },
      },
    );
  } finally {
    progress.stop();
    interrupts.stop();
  }
  if (own !== undefined) return;
  const { signal } = interrupts;
  if (signal !== undefined && state.pending.length > 0) {
    throw new InterruptedError(
      signal,
      `stopped with ${state.finished.length} of ${runs.length} runs finished; the same command goes on: lowrank ablate ${file}`,
    );
  }
  printSummary(state, flags.json === true);
  if (state.failed.length > 0) {
    const list = state.failed.map(({ id, error }) => `\n  ${id}: ${error}`).join('');
    throw new LowrankError(`${state.failed.length} of ${runs.length} runs failed (--retry makes them again):${list}`);
  }
}

/** The workers of a queue, where one is named. */
function makerOf(
  ablation: AblationConfig,
  queue: string | undefined,
): ((request: AblationRequest) => Promise<AblationState>) | undefined {
  if (queue === undefined) return undefined;
  return async (request) => {
    // Only this needs its packages.
    const [{ collectAblation }, { hideArguments, queueUrl }] = await Promise.all([
      import('../../workspace/queue/collect.js'),
      import('../../workspace/queue/connection.js'),
    ]);
    const url = queueUrl(queue);
    hideArguments('lowrank ablate');
    return collectAblation(request, { url, evaluation: ablation });
  };
}

function listRuns(runs: readonly AblationRun[]): void {
  print(runs.map(({ id }) => `${id}\n`).join(''));
}

function describeEstimates(estimates: readonly RunEstimate[], total: number, planned: number): string {
  const lines = estimates.map(({ run, steps, seconds, peakBytes }) => {
    const memory = peakBytes === undefined ? '' : `, at most ${formatBytes(peakBytes)}`;
    return `  ${run.id}: ${steps} steps, about ${formatDuration(seconds)}${memory}`;
  });
  const peak = Math.max(...estimates.map(({ peakBytes }) => peakBytes ?? 0));
  return [
    ...lines,
    `${estimates.length} of ${planned} runs to make, about ${formatDuration(total)} in all, at most ${formatBytes(peak)} on the device at a time`,
  ].join('\n');
}

function printSummary({ summary, failed, folder }: FolderAblationResult, json: boolean): void {
  if (json) {
    print(`${JSON.stringify({ ...summary, text: describeRecommendations(summary), failed, output: folder })}\n`);
    return;
  }
  const { header, rows } = tableOf(summary);
  if (rows.length > 0)
    print(
      formatTable(
        header.map((title) => ({ title, align: title === 'settings' ? 'left' : 'right' })),
        rows,
      ),
    );
  for (const line of describeRecommendations(summary)) print(`\n${line}\n`);
  print('\n');
  printExact(`${join(folder, ABLATION_FILE)}\n`);
}
