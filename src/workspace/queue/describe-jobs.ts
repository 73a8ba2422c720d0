import type { AblationRequest } from '../../ablation/request.js';
import type { AblationRun } from '../../ablation/runs.js';
import { ConfigError } from '../../errors.js';
import type { RunInputs } from '../../resume/inputs.js';
import { hashRequest, withTokenizer } from '../../finetune/load.js';
import { inputsKeyOf } from '../../finetune/options.js';
import type { EvaluationFiles } from '../ablation/evaluation-files.js';
import { formatBytes } from '../../format.js';
import { jobId, type RunJob } from './job.js';
import { MOST_JOB_BYTES } from './messages.js';
import type { FileSender } from './sent-files.js';

/** Each run with the hashes of what it is made of, by the name of its job. */
export async function describeJobs(
  runs: readonly AblationRun[],
  { open, host, evaluation: measured }: AblationRequest,
  evaluation: EvaluationFiles,
  sender: FileSender,
): Promise<Map<string, RunJob>> {
  const hashes = new Map<string, RunInputs['files']>();
  const jobs = new Map<string, RunJob>();
  for (const run of runs) {
    const key = inputsKeyOf(run.config);
    const files =
      hashes.get(key) ?? (await hashRequest(await withTokenizer({ config: run.config, host, ...(await open(run)) })));
    hashes.set(key, files);
    const { tasks, tasksData, retain } = evaluation;
    const job = {
      run,
      evaluation: { tasks, tasksData, retain, hash: measured?.hash ?? '' },
      files,
      sent: await sender.send(run, evaluation),
    };
    requireSmall(job);
    jobs.set(jobId(job), job);
  }
  return jobs;
}

/** @throws ConfigError for a job that no queue should hold: files go beside it. */
function requireSmall(job: RunJob): void {
  const { length } = JSON.stringify(job);
  if (length > MOST_JOB_BYTES)
    throw new ConfigError(
      `run ${job.run.id} is too big for a queue: its settings and the list of its files take ${formatBytes(length)}, and at most ${formatBytes(MOST_JOB_BYTES)} go there; chat templates and prompts in the config are most of it`,
    );
}
