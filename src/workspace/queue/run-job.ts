import type { DeviceHolder } from '../../ablation/device-holder.js';
import type { AblationRequest } from '../../ablation/request.js';
import { runAblation } from '../../ablation/runner.js';
import { ConfigError } from '../../errors.js';
import { nodeHost } from '../../device/node.js';
import { inputDifferences, inputsOf, readInputs } from '../../resume/inputs.js';
import { hashRequest, withTokenizer } from '../../finetune/load.js';
import { openEvaluation } from '../ablation/evaluation-files.js';
import type { openSources } from '../ablation/sources.js';
import type { Locate } from '../data-files.js';
import type { JobProgress, RunJob } from './job.js';
import type { JobStore } from './store.js';

/** Where a run of a queue is made. */
export interface RunContext {
  /** As the collector shows it. */
  readonly worker: string;
  readonly store: JobStore;
  readonly device: DeviceHolder;
  readonly sources: ReturnType<typeof openSources>;
  /** Where the files lie here that the run names. */
  readonly locate: Locate;
  readonly stopped: () => boolean;
  readonly note: (text: string) => void;
  readonly onProgress: (progress: JobProgress) => void;
}

/** How often the queue is told of steps, in milliseconds. */
const REPORT_MS = 1000;

/** Makes one run, with its store in Redis. @returns what the run failed with. */
export async function makeJob(job: RunJob, context: RunContext): Promise<string | undefined> {
  const { run } = job;
  const { worker, store, device, sources, locate, stopped, note, onProgress } = context;
  const measured = await openEvaluation(job.evaluation, run.config.training.per_device_eval_batch_size, {
    locate,
    onMessage: note,
  });
  try {
    const request: AblationRequest = {
      runs: [run],
      store,
      host: nodeHost,
      open: (each) => sources.of(each, locate),
      evaluation: measured.evaluation,
      estimate: false,
      device,
      callbacks: { ...reports(worker, onProgress), onNote: note, shouldStop: stopped },
    };
    await requireSame(job, request, worker);
    await leaveOthersCheckpoint(job, store, context);
    const { failed } = await runAblation(request);
    return failed[0]?.error;
  } finally {
    await measured.close();
  }
}

/** @throws ConfigError where a path means other files here than where the run was queued. */
async function requireSame(
  { run, files, evaluation }: RunJob,
  { open, evaluation: own }: AblationRequest,
  worker: string,
): Promise<void> {
  const { config } = run;
  const request = await withTokenizer({ config, host: nodeHost, ...(await open(run)) });
  const before = inputsOf(files, config, '');
  const differences = inputDifferences(before, inputsOf(await hashRequest(request), config, ''), config, 'finished');
  if ((own?.hash ?? '') !== evaluation.hash) differences.push('tasks or retained rows are others');
  if (differences.length > 0)
    throw new ConfigError(`${worker} has other files at the same paths: ${differences.join('; ')}`);
}

/** Numbers of two backends would be mixed: a run that this machine computes in another way begins anew. */
async function leaveOthersCheckpoint(
  { run }: RunJob,
  store: JobStore,
  { device, note }: Pick<RunContext, 'device' | 'note'>,
): Promise<void> {
  const checkpoint = await store.checkpoint();
  if (checkpoint === undefined) return;
  const { backend } = (await device.open(run.config)).device;
  const before = await readInputs(checkpoint);
  if (before.backend === backend) return;
  note(`${run.id}: ${checkpoint.name} was computed on ${before.backend}, and this is ${backend}: the run begins anew`);
  await store.dropCheckpoint();
}

function reports(
  worker: string,
  onProgress: (progress: JobProgress) => void,
): NonNullable<AblationRequest['callbacks']> {
  let progress: JobProgress = { worker, totalSteps: 0, doneSteps: 0 };
  let told = -Infinity;
  const tell = (change: Partial<JobProgress>, now: boolean): void => {
    progress = { ...progress, ...change };
    if (!now && performance.now() - told < REPORT_MS) return;
    told = performance.now();
    onProgress(progress);
  };
  return {
    onRun: (_run, { totalSteps, doneSteps }) => tell({ totalSteps, doneSteps }, true),
    onStep: (_run, step) => tell({ step }, false),
    onEvaluate: (_run, evaluation) => tell({ evaluation }, true),
  };
}
