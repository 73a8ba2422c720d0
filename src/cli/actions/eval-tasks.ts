import { dirname, join } from 'node:path';
import { ConfigError } from '../../errors.js';
import {
  compare,
  comparisonTable,
  forgetting,
  markdownTable,
  retainedTable,
  type ComparedMetric,
  type Evaluated,
} from '../../eval/tasks/compare.js';
import { runTask } from '../../eval/tasks/run.js';
import type { EvalTask } from '../../eval/tasks/schema.js';
import { writeFileAtomic } from '../../node.js';
import { VERSION } from '../../version.js';
import { formatDuration } from '../../format.js';
import { tell } from '../options.js';
import { openRunSession, type RunFlags, type RunSession } from '../run-session.js';
import { requireWritable } from '../../workspace/writable.js';
import { findTaskFile, openTaskSources, readTasks } from '../../workspace/task-files.js';
import { formatTable } from '../view/table.js';
import { print } from '../view/terminal.js';

/** What commander gives the action. */
export interface EvalTasksFlags extends RunFlags {
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
  const file = await findTaskFile(flags.tasks);
  const tasks = await readTasks(file, flags);
  if (flags.output !== undefined)
    await requireWritable({ path: flags.output, option: '--output', given: flags.output });
  const sources = await openTaskSources(tasks, flags.tasksData ?? dirname(file));
  try {
    const opened = await openRunSession(flags);
    const { session } = opened;
    try {
      const { decoder, tokenizer, device, adapters } = session;
      if (tokenizer === undefined)
        throw new ConfigError('tasks are made of text, and this model has no tokenizer.json');
      const evaluated: Evaluated[] = [];
      for (const name of [undefined, ...adapters.names]) {
        adapters.use(name);
        const results = [];
        for (const task of tasks) {
          const started = performance.now();
          const onItems = taskProgress(`${name ?? 'base'}: ${task.name}`);
          const result = await device.guard(
            runTask(task, sources.of(task), {
              decoder,
              tokenizer,
              batchSize: flags.batchSize,
              resamples: flags.resamples,
              onItems,
            }),
          );
          tell(
            `${name ?? 'base'}: ${task.name}: ${result.items} items in ${formatDuration((performance.now() - started) / 1000)}`,
          );
          results.push(result);
        }
        evaluated.push({ name: name ?? 'base', results });
      }
      await printComparison(tasks, evaluated, flags, opened);
    } finally {
      await session.dispose();
    }
  } finally {
    await sources.close();
  }
}

async function printComparison(
  tasks: readonly EvalTask[],
  evaluated: readonly Evaluated[],
  flags: EvalTasksFlags,
  opened: RunSession,
): Promise<void> {
  const metrics = compare(evaluated, new Set(tasks.filter(({ retain }) => retain).map(({ name }) => name)));
  const [table, retained] = [comparisonTable(metrics), retainedTable(metrics)];
  const report = evalReport(tasks, evaluated, metrics, {
    ...opened,
    adapters: flags.adapter ?? (flags.run === undefined ? [] : [flags.run]),
  });
  if (flags.output !== undefined) {
    await writeFileAtomic(join(flags.output, 'eval.json'), `${JSON.stringify(report, null, 1)}\n`);
    const tables = [table, ...(retained.rows.length > 0 ? [retained] : [])].map(markdownTable);
    await writeFileAtomic(
      join(flags.output, 'eval.md'),
      [...tables, ...cutNotes(tasks, evaluated).map((line) => `${line}\n`)].join('\n'),
    );
  }
  if (flags.json === true) return void print(`${JSON.stringify(report)}\n`);
  print(
    formatTable(
      table.header.map((title, i) => ({ title, align: i === 0 || i === 2 ? 'left' : 'right' })),
      table.rows,
    ),
  );
  for (const line of answersBeside(evaluated)) print(`${line}\n`);
  if (retained.rows.length > 0)
    print(
      `\n${formatTable(
        retained.header.map((title, i) => ({ title, align: i < 3 ? 'left' : 'right' })),
        retained.rows,
      )}`,
    );
  for (const line of cutNotes(tasks, evaluated)) print(`${line}\n`);
}

/** Seconds between two lines about how far a task is. */
const PROGRESS_SECONDS = 10;

/** Tells from time to time how many items of a task are done. */
function taskProgress(name: string): (done: number, total: number) => void {
  let last = performance.now();
  return (done, total) => {
    if (done >= total || performance.now() - last < PROGRESS_SECONDS * 1000) return;
    last = performance.now();
    tell(`${name}: ${done} of ${total} items`);
  };
}

/** Answers that are shown of each task, and characters of a line of them. */
const [ANSWERS, SHOWN] = [3, 100];

/** Some answers of every model beside the references, with the end of their prompts. */
function answersBeside(evaluated: readonly Evaluated[]): string[] {
  const [first] = evaluated;
  const width = Math.max('reference'.length, ...evaluated.map(({ name }) => name.length));
  const line = (name: string, text: string): string =>
    `  ${name.padEnd(width)}  ${JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text)}`;
  return (first?.results ?? []).flatMap(({ task, samples }, t) =>
    samples
      .slice(0, ANSWERS)
      .flatMap(({ prompt, reference }, i) => [
        ...[
          '',
          `${task}, item ${i + 1}`,
          line('prompt', prompt.length > SHOWN ? `…${prompt.slice(1 - SHOWN)}` : prompt),
          line('reference', reference),
        ],
        ...evaluated.map(({ name, results }) => line(name, results[t]?.samples[i]?.answer ?? '')),
      ]),
  );
}

/**
 * What eval.json holds. `forgetting` is how much worse each metric of a task to be retained is than the base's, by
 * adapter and then by `task/metric`, positive being forgetting; null without such tasks. `truncated` counts the rows
 * that were cut, by model and task.
 */
function evalReport(
  tasks: readonly EvalTask[],
  evaluated: readonly Evaluated[],
  metrics: readonly ComparedMetric[],
  { model, adapters, quantize }: Pick<RunSession, 'model' | 'quantize'> & { readonly adapters: readonly string[] },
): object {
  return {
    ...{ version: VERSION, model, adapters, quantize, tasks, metrics },
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
