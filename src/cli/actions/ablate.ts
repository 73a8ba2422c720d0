import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseAblation, type AblationConfig } from '../../ablation/config.js';
import type { RunEstimate } from '../../ablation/estimate.js';
import { ablationFiles, ABLATION_FILE } from '../../ablation/files.js';
import type { AblationRequest, AblationState } from '../../ablation/request.js';
import { runAblation } from '../../ablation/runner.js';
import { planRuns, type AblationRun } from '../../ablation/runs.js';
import { describeRecommendations, summarise } from '../../ablation/summary.js';
import { tableOf } from '../../ablation/table.js';
import { ConfigError, LowrankError } from '../../errors.js';
import { nodeHost } from '../../node.js';
import { jobProgress, jobsFor, shareRuns } from '../../workspace/ablation/local-jobs.js';
import { createAblationProgress } from '../view/ablation-progress.js';
import { openEvaluation } from '../../workspace/ablation/evaluation-files.js';
import { openSources } from '../../workspace/ablation/sources.js';
import { folderStore } from '../../workspace/ablation/folder-store.js';
import { withTemplates } from '../../workspace/chat-template-files.js';
import { withLocalModel } from '../../workspace/local-model.js';
import { formatBytes, formatDuration } from '../../format.js';
import { InterruptedError, watchInterrupts } from '../../workspace/interrupt.js';
import { describeDevice, tell } from '../options.js';
import { requireWritable } from '../../workspace/writable.js';
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
  const ablation = await readAblation(file, flags.output);
  const all = await planAll(ablation, flags.set);
  const own = flags.only?.split(',');
  const runs = own === undefined ? all : all.filter(({ id }) => own.includes(id));
  if (flags.dryRun === true) return listRuns(runs);
  const option = flags.output === undefined ? 'output_dir' : '--output';
  await requireWritable({ path: ablation.outputDir, option, given: ablation.outputDir });
  const [first] = runs as [AblationRun];
  const store = folderStore(ablation.outputDir, tell, option);
  const sources = openSources(tell);
  const measured = await openEvaluation(ablation, first.config.training.per_device_eval_batch_size, {
    onMessage: tell,
  });
  let seconds: number | undefined;
  let told = false;
  const progress = own === undefined ? createAblationProgress(runs, () => seconds) : jobProgress(() => (told = true));
  const interrupts = watchInterrupts(() => {
    if (own === undefined)
      progress.log(
        flags.queue === undefined
          ? 'stopping after this micro-batch or task; once more to stop at once'
          : 'leaving; the workers go on',
      );
  });
  let state: AblationState | undefined;
  try {
    const request: AblationRequest = {
      runs,
      store,
      host: nodeHost,
      open: (run) => sources.of(run),
      evaluation: measured.evaluation,
      retry: flags.retry === true,
      estimate: flags.estimate,
      jobs: flags.jobs,
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
        onFinished: async (run, { result, timings }, soFar) => {
          progress.set(run, {
            state: 'done',
            validation: result.validation_loss,
            ...(timings === undefined ? {} : { tokensPerSecond: timings.tokens_per_second }),
          });
          if (own === undefined)
            await store.write(await ablationFiles({ ablation, runs, state: soFar, store, subspace: false }));
        },
        onFailed: (run, error) => {
          progress.set(run, { state: 'failed' });
          progress.log(`run ${run.id} failed: ${error}`);
        },
        shouldStop: () => told || interrupts.signal !== undefined,
      },
    };
    state = await makeRuns(request, ablation, flags.queue);
    progress.stop();
    if (own !== undefined) return;
    await store.write(await ablationFiles({ ablation, runs, state, store, subspace: true }));
  } finally {
    progress.stop();
    interrupts.stop();
    await sources.close();
    await measured.close();
  }
  const { signal } = interrupts;
  if (signal !== undefined && state.pending.length > 0) {
    throw new InterruptedError(
      signal,
      `stopped with ${state.finished.length} of ${runs.length} runs finished; the same command goes on: lowrank ablate ${file}`,
    );
  }
  printSummary(state, ablation, flags.json === true);
  if (state.failed.length > 0) {
    const list = state.failed.map(({ id, error }) => `\n  ${id}: ${error}`).join('');
    throw new LowrankError(`${state.failed.length} of ${runs.length} runs failed (--retry makes them again):${list}`);
  }
}

/** Here, or by the workers of a queue. */
async function makeRuns(
  request: AblationRequest,
  ablation: AblationConfig,
  queue: string | undefined,
): Promise<AblationState> {
  if (queue === undefined) return runAblation(request);
  // Its packages are loaded by nobody else.
  const [{ collectAblation }, { hideArguments, queueUrl }] = await Promise.all([
    import('../../workspace/queue/collect.js'),
    import('../../workspace/queue/connection.js'),
  ]);
  const url = queueUrl(queue);
  hideArguments('lowrank ablate');
  return collectAblation(request, { url, evaluation: ablation });
}

async function readAblation(file: string, output: string | undefined): Promise<AblationConfig> {
  const ablation = parseAblation(await readText(file), file, dirname(resolve(file)));
  return output === undefined ? ablation : { ...ablation, outputDir: resolve(output) };
}

async function planAll(ablation: AblationConfig, set: readonly string[]): Promise<AblationRun[]> {
  const runs = await planRuns(ablation, { readText, set, folder: process.cwd() });
  return Promise.all(
    runs.map(async (run) => ({ ...run, config: await withLocalModel(await withTemplates(run.config)) })),
  );
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`cannot read ${path}: ${(error as Error).message.replace(/, .*$/, '')}`, { cause: error });
  }
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

function printSummary(state: AblationState, { outputDir }: AblationConfig, json: boolean): void {
  const summary = summarise(state.finished, state.baselines);
  if (json) {
    print(
      `${JSON.stringify({ ...summary, text: describeRecommendations(summary), failed: state.failed, output: outputDir })}\n`,
    );
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
  printExact(`${join(outputDir, ABLATION_FILE)}\n`);
}
