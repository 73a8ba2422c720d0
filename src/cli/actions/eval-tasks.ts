import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { ConfigError } from '../../errors.js';
import { compare, comparisonTable, forgetting, markdownTable, retainedTable, type ComparedMetric, type Evaluated } from '../../eval/tasks/compare.js';
import { runTask } from '../../eval/tasks/run.js';
import type { TaskSources } from '../../eval/tasks/rows.js';
import { parseTasks, type EvalTask } from '../../eval/tasks/schema.js';
import type { ByteSource } from '../../io/source.js';
import { fileSource, isFile, writeFileAtomic } from '../../node.js';
import { VERSION } from '../../version.js';
import { openFlaggedSession, tell, type ModelFlags } from '../options.js';
import { asNamed, type Locate } from '../../workspace/data-files.js';
import { formatTable } from '../table.js';
import { print } from '../terminal.js';

/** What commander gives the action. */
export interface EvalTasksFlags extends ModelFlags {
  readonly tasks: string;
  readonly tasksData?: string;
  readonly batchSize: number;
  readonly limit?: number;
  readonly resamples: number;
  readonly output?: string;
  readonly json?: true;
}

/** Evaluates the base and every adapter on all tasks of a file, and prints them side by side. */
export async function runEvalTasks(flags: EvalTasksFlags): Promise<void> {
  const tasks = await readTasks(flags);
  const sources = await openTaskSources(tasks, flags.tasksData ?? dirname(flags.tasks));
  try {
    const session = await openFlaggedSession(flags);
    try {
      const { decoder, tokenizer, device, adapters } = session;
      if (tokenizer === undefined) throw new ConfigError('tasks are made of text, and this model has no tokenizer.json');
      const evaluated: Evaluated[] = [];
      for (const name of [undefined, ...adapters.names]) {
        adapters.use(name);
        const results = [];
        for (const task of tasks) {
          tell(`${name ?? 'base'}: ${task.name}`);
          results.push(await device.guard(runTask(task, sources.of(task), { decoder, tokenizer, batchSize: flags.batchSize, resamples: flags.resamples })));
        }
        evaluated.push({ name: name ?? 'base', results });
      }
      await printComparison(tasks, evaluated, flags);
    } finally {
      await session.dispose();
    }
  } finally {
    await sources.close();
  }
}

async function printComparison(tasks: readonly EvalTask[], evaluated: readonly Evaluated[], flags: EvalTasksFlags): Promise<void> {
  const metrics = compare(evaluated, new Set(tasks.filter(({ retain }) => retain).map(({ name }) => name)));
  const [table, retained] = [comparisonTable(metrics), retainedTable(metrics)];
  const report = evalReport(tasks, evaluated, metrics, flags);
  if (flags.output !== undefined) {
    await writeFileAtomic(join(flags.output, 'eval.json'), `${JSON.stringify(report, null, 1)}\n`);
    const tables = [table, ...(retained.rows.length > 0 ? [retained] : [])].map(markdownTable);
    await writeFileAtomic(join(flags.output, 'eval.md'), [...tables, ...cutNotes(tasks, evaluated).map((line) => `${line}\n`)].join('\n'));
  }
  if (flags.json === true) return void print(`${JSON.stringify(report)}\n`);
  print(formatTable(table.header.map((title, i) => ({ title, align: i < 2 ? 'left' : 'right' })), table.rows));
  if (retained.rows.length > 0) print(`\n${formatTable(retained.header.map((title, i) => ({ title, align: i < 3 ? 'left' : 'right' })), retained.rows)}`);
  for (const line of cutNotes(tasks, evaluated)) print(`${line}\n`);
}

/**
 * What eval.json holds. `forgetting` is how much worse each metric of a task to be retained is than the base's, by adapter and then by
 * `task/metric`, positive being forgetting; null without such tasks. `truncated` counts the rows that were cut, by model and task.
 */
function evalReport(tasks: readonly EvalTask[], evaluated: readonly Evaluated[], metrics: readonly ComparedMetric[], { model, adapter, quantize }: EvalTasksFlags): object {
  return {
    ...{ version: VERSION, model, adapters: adapter ?? [], quantize, tasks, metrics },
    forgetting: forgetting(metrics) ?? null,
    truncated: Object.fromEntries(evaluated.map(({ name, results }) => [name, Object.fromEntries(results.map(({ task, truncated }) => [task, truncated]))])),
    samples: evaluated.map(({ name, results }) => ({ name, tasks: results.map(({ task, samples }) => ({ task, samples })) })),
  };
}

/** A line a task of which something was cut, and how often: not every model has the same room for it. */
function cutNotes(tasks: readonly EvalTask[], evaluated: readonly Evaluated[]): string[] {
  return tasks.flatMap(({ name: task, type }) => {
    const counts = evaluated.map(({ name, results }) => ({ name, truncated: results.find((result) => result.task === task)?.truncated ?? 0 }));
    const what = type === 'loss' ? 'texts cut at max_length or the end of the context' : 'prompts cut from the left to fit the context';
    return [...new Set(counts.map(({ truncated }) => truncated))].filter((count) => count > 0).map((count) => {
      const names = counts.filter(({ truncated }) => truncated === count).map(({ name }) => name);
      return `${task}: ${what}: ${count}${names.length < counts.length ? ` (${names.join(', ')})` : ''}`;
    });
  });
}

async function readTasks({ tasks: path, limit }: EvalTasksFlags): Promise<EvalTask[]> {
  if (!(await isFile(path))) throw new ConfigError(`--tasks: ${path}: no such file`);
  const tasks = parseTasks(await readFile(path, 'utf8'), path);
  return limit === undefined ? tasks : tasks.map((task) => ({ ...task, limit: Math.min(limit, task.limit ?? limit) }));
}

/** Every data file once. @throws ConfigError listing all that are missing. */
export async function openTaskSources(tasks: readonly EvalTask[], folder: string, locate: Locate = asNamed): Promise<{ of(task: EvalTask): TaskSources; close(): Promise<void> }> {
  const opened = new Map<string, ByteSource>();
  const missing: string[] = [];
  const place = (path: string): string => placeOf(path, folder);
  for (const task of tasks) {
    for (const path of filesOf(task)) {
      if (opened.has(path)) continue;
      if (await isFile(locate(place(path)))) opened.set(path, await fileSource(locate(place(path)), place(path)));
      else missing.push(`${task.name}: ${path}: no such file`);
    }
  }
  const close = async (): Promise<void> => {
    for (const source of opened.values()) await source.close();
  };
  if (missing.length > 0) {
    await close();
    throw new ConfigError([...new Set(missing)].join('\n'));
  }
  const get = (path: string): ByteSource => opened.get(path) as ByteSource;
  return {
    of: (task) => ({ data: [task.data].flat().map(get), ...('few_shot' in task && task.few_shot !== undefined ? { fewShot: get(task.few_shot.data) } : {}) }),
    close,
  };
}

/** Where the files of tasks are. */
export function taskFiles(tasks: readonly EvalTask[], folder: string): string[] {
  return [...new Set(tasks.flatMap(filesOf))].map((path) => placeOf(path, folder));
}

function placeOf(path: string, folder: string): string {
  return isAbsolute(path) ? path : join(folder, path);
}

function filesOf(task: EvalTask): string[] {
  return [...[task.data].flat(), ...('few_shot' in task && task.few_shot !== undefined ? [task.few_shot.data] : [])];
}
