import type { Evaluated } from '../../eval/tasks/compare.js';
import { formatDuration } from '../../format.js';
import { describeDevice, tell } from '../options.js';
import type { RunFlags } from '../run-session.js';
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
  const { evaluateTasks } = await import('../../workspace/evaluate-tasks.js');
  const progress = new Map<string, (done: number, total: number) => void>();
  const evaluation = await evaluateTasks({
    ...flags,
    onMessage: tell,
    onDevice: (device) => {
      tell(describeDevice(device));
    },
    onItems: (model, task, done, total) => {
      const name = `${model}: ${task}`;
      const show = progress.get(name) ?? taskProgress(name);
      progress.set(name, show);
      show(done, total);
    },
    onTask: (model, { task, items }, seconds) => {
      tell(`${model}: ${task}: ${items} items in ${formatDuration(seconds)}`);
    },
  });
  if (flags.json === true) return void print(`${JSON.stringify(evaluation.report)}\n`);
  const { table, retained, evaluated, notes } = evaluation;
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
  for (const line of notes) print(`${line}\n`);
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
