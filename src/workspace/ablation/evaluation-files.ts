import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AblationConfig } from '../../ablation/config.js';
import type { Evaluation, TaskAnswer } from '../../ablation/evaluation.js';
import { loadDataset } from '../../data/dataset.js';
import { sourcesOf } from '../../data/parts.js';
import type { DataSource } from '../../data/row.js';
import { ConfigError } from '../../errors.js';
import { ENCODER_FILES } from '../../eval/metrics/bert-encoder.js';
import { evaluateLoss } from '../../eval/loss.js';
import type { TaskSources } from '../../eval/tasks/rows.js';
import { runTask } from '../../eval/tasks/run.js';
import { metricNames, parseTasks, type EvalTask } from '../../eval/tasks/schema.js';
import { hashSource } from '../../io/hash.js';
import { lowerIsBetter } from '../../metric-scales.js';
import { isFile, localDirectory } from '../../io/node.js';
import { memorySource } from '../../io/source.js';
import { hashFiles, hashRowFiles } from '../../record/hashes.js';
import { openTaskSources } from '../task-files.js';
import { asNamed, openDataFiles, type Locate } from '../data-files.js';

/** The files that an evaluation is made of. */
export type EvaluationFiles = Pick<AblationConfig, 'tasks' | 'tasksData' | 'retain'>;

export interface EvaluationOptions {
  /** Where the files are, for runs whose files were sent. */
  readonly locate?: Locate | undefined;
  /** Receives what is worth knowing of the files. */
  readonly onMessage: (message: string) => void;
}

/** Name of the loss on the rows of `retain`. */
const RETAIN_LOSS = 'retain_loss';

/** The evaluation that an ablation asks for; undefined where it asks for none. Close it after the last one. */
export async function openEvaluation(
  { tasks: path, tasksData, retain }: EvaluationFiles,
  batchSize: number,
  { locate = asNamed, onMessage }: EvaluationOptions,
): Promise<{ evaluation: Evaluation | undefined; close(): Promise<void> }> {
  if (path === undefined && retain.length === 0) return { evaluation: undefined, close: () => Promise.resolve() };
  const text = path === undefined ? '' : await readTasks(path, locate(path));
  const tasks = path === undefined ? [] : parseTasks(text, path);
  const rows = await openDataFiles({ retain }, { locate, onMessage });
  const sources = await openTaskSources(tasks, tasksData ?? dirname(path ?? '.'), locate);
  const close = async (): Promise<void> => {
    await rows.close();
    await sources.close();
  };
  const files = [
    ...sourcesOf(retain.length === 0 ? { sources: [] } : rows.sources.retain),
    ...tasks.flatMap((task) => rowFilesOf(sources.of(task))),
  ];
  const read = JSON.stringify([text, await hashRowFiles(files), ...(await hashEncoders(tasks))]);
  const retained = new Map(
    tasks
      .filter((task) => task.retain)
      .flatMap((task) =>
        metricNames(task).map((metric): [string, boolean] => [nameOf(task, metric), lowerIsBetter(metric)]),
      ),
  );
  if (retain.length > 0) retained.set(RETAIN_LOSS, true);
  const evaluation: Evaluation = {
    hash: await hashSource(memorySource('evaluation', new TextEncoder().encode(read))),
    retained,
    async evaluate(decoder, tokenizer, shouldStop = () => false) {
      const metrics: Record<string, number> = {};
      const answers: TaskAnswer[] = [];
      if (retain.length > 0) {
        const options = { max_length: decoder.maxLength };
        const { examples } = await loadDataset({
          source: rows.sources.retain,
          tokenizer,
          vocabSize: decoder.config.vocabSize,
          options,
        });
        metrics[RETAIN_LOSS] = (await evaluateLoss(decoder, examples, batchSize)).loss;
      }
      for (const task of tasks) {
        if (shouldStop()) return undefined;
        if (tokenizer === undefined)
          throw new ConfigError('tasks are made of text, and this model has no tokenizer.json');
        const result = await runTask(task, sources.of(task), { decoder, tokenizer, batchSize, resamples: 0 });
        for (const [metric, { value }] of Object.entries(result.metrics)) metrics[nameOf(task, metric)] = value;
        answers.push(...result.samples.map((sample) => ({ task: task.name, ...sample })));
      }
      return { metrics, answers };
    },
  };
  return { evaluation, close };
}

function rowFilesOf({ data, fewShot }: TaskSources): DataSource[] {
  return [...data, ...(fewShot === undefined ? [] : [fewShot])];
}

/** Of what the numbers of BERTScore follow from: the files of each encoder, whatever its folder is called. */
async function hashEncoders(tasks: readonly EvalTask[]): Promise<Record<string, string>[]> {
  const folders = tasks.flatMap((task) =>
    (task.type === 'generate' ? task.metrics : []).flatMap((metric) =>
      typeof metric === 'object' && metric.name === 'bertscore' ? [metric.model] : [],
    ),
  );
  return Promise.all([...new Set(folders)].map((folder) => hashFiles(localDirectory(folder), ENCODER_FILES)));
}

function nameOf(task: EvalTask, metric: string): string {
  return `${task.name}/${metric}`;
}

async function readTasks(name: string, path: string): Promise<string> {
  if (!(await isFile(path))) throw new ConfigError(`tasks: ${name}: no such file`);
  return readFile(path, 'utf8');
}
