import type { JsonRow, DataSource } from '../../data/row.js';
import { compileRowTemplate, writeRow } from '../../data/row-template.js';
import { openRows } from '../../data/rows.js';
import { ConfigError, DataError } from '../../errors.js';
import type { CompiledTemplate } from '../../tokenizer/template.js';
import type { ChoiceTask, EvalTask, GenerateTask, LossTask, PromptedTask } from './schema.js';

/** The files of a task. */
export interface TaskSources {
  readonly data: readonly DataSource[];
  readonly fewShot?: DataSource | undefined;
}

/** A prompt with the texts that an answer is compared with. */
export interface GenerateItem {
  readonly prompt: string;
  readonly references: readonly string[];
}

/** A question with its answers. */
export interface ChoiceItem {
  readonly prompt: string;
  /** As they stand after the prompt. */
  readonly choices: readonly { readonly text: string; readonly correct: boolean }[];
}

/** All rows of files. @throws DataError naming the first bad one. */
export async function readTaskRows(sources: readonly DataSource[], limit = Infinity): Promise<JsonRow[]> {
  const rows: JsonRow[] = [];
  for (const source of sources) {
    const file = await openRows(source);
    for await (const row of file.rows) {
      if (rows.length >= limit) return rows;
      if ('problem' in row) throw new DataError(`${file.name}, ${file.unit} ${row.line}: ${row.problem}`);
      rows.push(row.value);
    }
  }
  return rows;
}

/** @throws DataError where the files hold no row. */
async function taskRows({ name }: EvalTask, { data }: TaskSources, limit: number | undefined): Promise<JsonRow[]> {
  const rows = await readTaskRows(data, limit);
  if (rows.length === 0) throw new DataError(`${name}: data: no rows`);
  return rows;
}

/** @throws DataError where there are none. */
export function lossRows(task: LossTask, sources: TaskSources): Promise<JsonRow[]> {
  return taskRows(task, sources, task.limit);
}

/** @throws DataError for a row without one of the fields, and where there are none. */
export async function generateItems(task: GenerateTask, sources: TaskSources): Promise<GenerateItem[]> {
  const fields = [task.references].flat();
  const referencesOf = (row: JsonRow): string[] => fields.flatMap((field) => texts(row, field, task.name));
  const promptOf = await prompter(task, sources, (row) => referencesOf(row)[0] ?? '');
  const items = new Map<string, GenerateItem>();
  // Grouped rows count as one: the limit is on items.
  for (const [i, row] of (await taskRows(task, sources, task.group ? undefined : task.limit)).entries()) {
    const prompt = promptOf(row);
    const key = task.group ? prompt : String(i);
    items.set(key, { prompt, references: [...(items.get(key)?.references ?? []), ...referencesOf(row)] });
  }
  return [...items.values()].slice(0, task.limit);
}

/** @throws DataError for a row whose choices or answer cannot be read, and where there are none. */
export async function choiceItems(task: ChoiceTask, sources: TaskSources): Promise<ChoiceItem[]> {
  const write = rowWriter(task.choice_template, `${task.name}: choice_template`);
  const choicesOf = (row: JsonRow): ChoiceItem['choices'] =>
    readChoices(task, row).map(({ text, correct }, index) => ({
      text: write({ ...row, choice: text, index, letter: String.fromCharCode(65 + index) }),
      correct,
    }));
  const promptOf = await prompter(task, sources, (row) => choicesOf(row).find(({ correct }) => correct)?.text ?? '');
  return (await taskRows(task, sources, task.limit)).map((row) => ({ prompt: promptOf(row), choices: choicesOf(row) }));
}

function readChoices(task: ChoiceTask, row: JsonRow): { text: string; correct: boolean }[] {
  const value = row[task.choices];
  if (Array.isArray(value) && value.length > 0) {
    const options = value.map(String);
    const answer = task.answer === undefined ? undefined : row[task.answer];
    const index =
      typeof answer === 'number' || (typeof answer === 'string' && /^\d+$/.test(answer))
        ? Number(answer)
        : options.indexOf(String(answer));
    if (answer === undefined || options[index] === undefined)
      throw new DataError(
        `${task.name}: answer ${JSON.stringify(answer) ?? 'missing'} is none of ${options.length} choices`,
      );
    return options.map((text, i) => ({ text, correct: i === index }));
  }
  if (typeof value === 'object' && value !== null && Object.keys(value).length > 0)
    return Object.entries(value).map(([text, right]) => ({ text, correct: Number(right) === 1 }));
  throw new DataError(`${task.name}: field ${JSON.stringify(task.choices)} holds no choices`);
}

/**
 * Writes rows with a template, which is parsed at the first of them.
 * @throws ConfigError for a template that does not parse; DataError for a field that it writes and a row lacks.
 */
export function rowWriter(source: string, name: string): (row: JsonRow) => string {
  let template: CompiledTemplate | undefined;
  return (row) => {
    template ??= compileRowTemplate(source, name, row);
    const text = writeRow(template, row);
    if (typeof text !== 'string') throw new DataError(text.problem);
    return text;
  };
}

/** Writes prompts, with solved rows in front where the task has them. */
async function prompter(
  task: PromptedTask,
  { fewShot: source }: TaskSources,
  answerOf: (row: JsonRow) => string,
): Promise<(row: JsonRow) => string> {
  const write = rowWriter(task.prompt, `${task.name}: prompt`);
  const { few_shot: fewShot } = task;
  if (fewShot === undefined) return write;
  if (source === undefined) throw new ConfigError(`${task.name}: few_shot.data was not handed over`);
  const solved = await readTaskRows([source]);
  const { match, count, separator } = fewShot;
  return (row) => {
    const shown = solved.filter((other) => match === undefined || other[match] === row[match]).slice(0, count);
    if (shown.length < count)
      throw new DataError(
        `${task.name}: few_shot: ${shown.length} rows${match === undefined ? '' : ` with the same ${match}`}, ${count} are asked for`,
      );
    // An answer that brings its own blank follows at once.
    const examples = shown.map((other) => `${write(other)}${spaced(answerOf(other))}`);
    return [...examples, write(row)].join(separator);
  };
}

function spaced(answer: string): string {
  return /^\s/.test(answer) ? answer : ` ${answer}`;
}

function texts(row: JsonRow, field: string, task: string): string[] {
  const value = row[field];
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  if (!list.every((item) => typeof item === 'string' || typeof item === 'number') || list.length === 0) {
    throw new DataError(
      `${task}: field ${JSON.stringify(field)} holds ${JSON.stringify(value)?.slice(0, 60) ?? 'nothing'}, allowed a text or a list of texts; the row has ${Object.keys(row).join(', ')}`,
    );
  }
  return list.map(String);
}
