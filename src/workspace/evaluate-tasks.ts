import { dirname, join } from 'node:path';
import { ConfigError } from '../errors.js';
import {
  compare,
  comparisonTable,
  forgetting,
  markdownTable,
  retainedTable,
  type ComparedMetric,
  type Evaluated,
} from '../eval/tasks/compare.js';
import { runTask, type TaskResult } from '../eval/tasks/run.js';
import type { EvalTask } from '../eval/tasks/schema.js';
import { writeFileAtomic } from '../io/node.js';
import { VERSION } from '../version.js';
import { openRunSession, type RunSession, type RunSessionRequest } from './open-run-session.js';
import { findTaskFile, openTaskSources, readTasks } from './task-files.js';
import { requireWritable } from './writable.js';

/** A task file, and the run or model with adapters to evaluate on it. */
export interface EvaluateTasksRequest extends RunSessionRequest {
  /** Path of a task file, or the name of an included one. */
  readonly tasks: string;
  /** Folder of the tasks' data. Default: that of the task file. */
  readonly tasksData?: string | undefined;
  /** Rows that are evaluated at a time. Default 8. */
  readonly batchSize?: number | undefined;
  /** Items of each task at most. */
  readonly limit?: number | undefined;
  /** Bootstrap resamples for the confidence intervals. Default 1000. */
  readonly resamples?: number | undefined;
  /** Folder that eval.json and eval.md are written to. */
  readonly output?: string | undefined;
  /** `model` is `base` or the name of an adapter. */
  readonly onItems?: ((model: string, task: string, done: number, total: number) => void) | undefined;
  /** Called after each task of each model, with the seconds that it took. */
  readonly onTask?: ((model: string, result: TaskResult, seconds: number) => void) | undefined;
}

/**
 * What eval.json holds. `forgetting` is how much worse each metric of a task to be retained is than the base's, by
 * adapter and then by `task/metric`, positive being forgetting; null without such tasks. `truncated` counts the rows
 * that were cut, by model and task.
 */
export interface TaskReport {
  readonly version: string;
  readonly model: string;
  readonly adapters: readonly string[];
  readonly quantize: 'nf4' | 'fp4' | 'none';
  readonly tasks: readonly EvalTask[];
  readonly metrics: readonly ComparedMetric[];
  readonly forgetting: Readonly<Record<string, Readonly<Record<string, number>>>> | null;
  readonly truncated: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly samples: readonly {
    readonly name: string;
    readonly tasks: readonly Pick<TaskResult, 'task' | 'samples'>[];
  }[];
}

/** Results of all models on all tasks, as numbers and as tables. */
export interface TaskEvaluation {
  /** The base first, then each adapter. */
  readonly evaluated: readonly Evaluated[];
  /** Every metric of every task by model. */
  readonly table: ReturnType<typeof comparisonTable>;
  /** What each adapter lost on the tasks to be retained; without rows where there are none. */
  readonly retained: ReturnType<typeof retainedTable>;
  /** One line for each task of which rows were cut. */
  readonly notes: readonly string[];
  readonly report: TaskReport;
}

/**
 * Evaluates a base model and each of its adapters on all tasks of a file.
 * @throws ConfigError for tasks, data or a model that cannot be used; FormatError; DeviceError
 */
export async function evaluateTasks(request: EvaluateTasksRequest): Promise<TaskEvaluation> {
  const { batchSize = 8, resamples = 1000, output } = request;
  const file = await findTaskFile(request.tasks);
  const tasks = await readTasks(file, { limit: request.limit });
  if (output !== undefined) await requireWritable({ path: output, option: '--output', given: output });
  const sources = await openTaskSources(tasks, request.tasksData ?? dirname(file));
  try {
    const opened = await openRunSession(request);
    const { session } = opened;
    try {
      const { decoder, tokenizer, device, adapters } = session;
      if (tokenizer === undefined)
        throw new ConfigError('tasks are made of text, and this model has no tokenizer.json');
      const evaluated: Evaluated[] = [];
      for (const adapter of [undefined, ...adapters.names]) {
        adapters.use(adapter);
        const name = adapter ?? 'base';
        const results: TaskResult[] = [];
        for (const task of tasks) {
          const started = performance.now();
          const onItems = (done: number, total: number): void => request.onItems?.(name, task.name, done, total);
          const result = await device.guard(
            runTask(task, sources.of(task), { decoder, tokenizer, batchSize, resamples, onItems }),
          );
          request.onTask?.(name, result, (performance.now() - started) / 1000);
          results.push(result);
        }
        evaluated.push({ name, results });
      }
      const evaluation = compared(tasks, evaluated, {
        ...opened,
        adapters: request.adapter ?? (request.run === undefined ? [] : [request.run]),
      });
      if (output !== undefined) await writeEvaluation(output, evaluation);
      return evaluation;
    } finally {
      await session.dispose();
    }
  } finally {
    await sources.close();
  }
}

function compared(
  tasks: readonly EvalTask[],
  evaluated: readonly Evaluated[],
  opened: Pick<RunSession, 'model' | 'quantize'> & { readonly adapters: readonly string[] },
): TaskEvaluation {
  const metrics = compare(evaluated, new Set(tasks.filter(({ retain }) => retain).map(({ name }) => name)));
  return {
    evaluated,
    table: comparisonTable(metrics),
    retained: retainedTable(metrics),
    notes: cutNotes(tasks, evaluated),
    report: evalReport(tasks, evaluated, metrics, opened),
  };
}

async function writeEvaluation(folder: string, { table, retained, notes, report }: TaskEvaluation): Promise<void> {
  await writeFileAtomic(join(folder, 'eval.json'), `${JSON.stringify(report, null, 1)}\n`);
  const tables = [table, ...(retained.rows.length > 0 ? [retained] : [])].map(markdownTable);
  await writeFileAtomic(join(folder, 'eval.md'), [...tables, ...notes.map((line) => `${line}\n`)].join('\n'));
}

function evalReport(
  tasks: readonly EvalTask[],
  evaluated: readonly Evaluated[],
  metrics: readonly ComparedMetric[],
  { model, adapters, quantize }: Pick<RunSession, 'model' | 'quantize'> & { readonly adapters: readonly string[] },
): TaskReport {
  return {
    version: VERSION,
    model,
    adapters,
    quantize,
    tasks,
    metrics,
    forgetting: forgetting(metrics) ?? null,
    truncated: Object.fromEntries(
      evaluated.map(({ name, results }) => [
        name,
        Object.fromEntries(results.map(({ task, truncated }) => [task, truncated])),
      ]),
    ),
    samples: evaluated.map(({ name, results }) => ({
      name,
      tasks: results.map(({ task, samples }) => ({ task, samples })),
    })),
  };
}

/** A line a task of which something was cut, and how often: not every model has the same room for it. */
function cutNotes(tasks: readonly EvalTask[], evaluated: readonly Evaluated[]): string[] {
  return tasks.flatMap(({ name: task, type }) => {
    const counts = evaluated.map(({ name, results }) => ({
      name,
      truncated: results.find((result) => result.task === task)?.truncated ?? 0,
    }));
    const what =
      type === 'loss'
        ? 'texts cut at max_length or the end of the context'
        : 'prompts cut from the left to fit the context';
    return [...new Set(counts.map(({ truncated }) => truncated))]
      .filter((count) => count > 0)
      .map((count) => {
        const names = counts.filter(({ truncated }) => truncated === count).map(({ name }) => name);
        return `${task}: ${what}: ${count}${names.length < counts.length ? ` (${names.join(', ')})` : ''}`;
      });
  });
}
