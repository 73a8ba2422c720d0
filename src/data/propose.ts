import { DataError } from '../errors.js';
import { describeFormats } from './formats.js';
import { isConversation, type DataOptions, type RowFormat } from './options.js';
import { fieldExpression, rowEntry } from './row-template.js';
import type { Column, DataSurvey } from './survey.js';

/** Names of columns that hold what a model shall write, the more telling ones first. */
const COMPLETIONS = [
  'completion',
  'summary',
  'answer',
  'output',
  'label',
  'response',
  'target',
  'chosen',
  'highlights',
  'translation',
];

/** Columns that number the rows: `id`, `user_id`, `Unnamed: 0` of pandas, a first column without a name. */
const NUMBERING = /^(?:id|idx|index|uuid|guid|unnamed: \d+|)$|[_\s-]id$/i;

/** How the rows of a data set become text. */
export interface TextProposal {
  /** What the rows are: a format of their own, or a table. */
  readonly format: RowFormat;
  readonly conversation: boolean;
  /** Options for the config. */
  readonly options: Pick<DataOptions, 'template' | 'completion_template' | 'text_field'>;
  /** Of a table: the columns of the prompt, that of the completion, those that are left out. */
  readonly columns?: {
    readonly prompt: readonly string[];
    readonly completion: string | undefined;
    readonly unused: readonly string[];
    readonly by: 'name' | 'place' | 'choice';
  };
}

/** Columns of a table that can be the completion, or undefined where the rows have a format of their own. */
export function tableColumns({ columns, formats }: DataSurvey): Column[] | undefined {
  const labelled = columns.some(({ name, kind }) => kind !== 'other' && COMPLETIONS.includes(name.toLowerCase()));
  // A text beside an answer is the prompt of a table.
  const table = formats.includes(undefined) || (labelled && formats.every((format) => format === 'text'));
  return table
    ? columns.filter(
        ({ name, kind }) => kind === 'text' || (kind === 'number' && COMPLETIONS.includes(name.toLowerCase())),
      )
    : undefined;
}

/**
 * Proposes how rows become text: by their own format, else by a template over the text columns, of which the completion
 * is that with a telling name, else the last.
 * @param chosen the column of the completion, in place of the one that would be taken.
 * @throws DataError when no column holds text, or the chosen one is none.
 */
export function proposeText(survey: DataSurvey, chosen?: string): TextProposal {
  const usable = tableColumns(survey);
  if (usable === undefined) {
    const format = survey.formats[0] as RowFormat;
    return {
      format,
      conversation: survey.formats.some((each) => each !== undefined && isConversation(each)),
      options: {},
    };
  }
  const texts = usable.filter(({ name }) => !NUMBERING.test(name));
  const named = COMPLETIONS.flatMap((word) => texts.filter(({ name }) => name.toLowerCase() === word));
  const within = COMPLETIONS.flatMap((word) =>
    texts.filter(
      ({ name, kind }) =>
        kind === 'text' &&
        name
          .toLowerCase()
          .split(/[^a-z]+/)
          .includes(word),
    ),
  );
  const byName = named[0] ?? within[0];
  const completion =
    chosen === undefined ? (byName ?? texts.at(-1)) : survey.columns.find(({ name }) => name === chosen);
  if (completion === undefined || completion.kind === 'other') {
    const found = survey.columns.map(({ name }) => JSON.stringify(name)).join(', ') || 'none';
    throw new DataError(
      `data: no column ${chosen === undefined ? 'of the rows holds text' : `${JSON.stringify(chosen)} with text`} (columns: ${found}). Rows are read as one of these:\n${describeFormats()}`,
    );
  }
  const prompt = texts.filter(({ name, kind }) => kind === 'text' && name !== completion.name);
  const used = new Set([...prompt, completion].map(({ name }) => name));
  const columns = {
    completion: prompt.length === 0 ? undefined : completion.name,
    unused: survey.columns.map(({ name }) => name).filter((name) => !used.has(name)),
  };
  const by = chosen === undefined ? (byName === undefined ? 'place' : 'name') : 'choice';
  const kind = { format: 'template', conversation: false } as const;
  if (prompt.length === 0) {
    const { name, gaps } = completion;
    const options = gaps || completion.kind === 'number' ? { template: written(completion) } : { text_field: name };
    return { ...kind, options, columns: { ...columns, prompt: [name], by } };
  }
  const template = prompt.map(promptPart).join('') + `${label(completion.name)}:`;
  // With a blank in front the answer begins a word, as it would within a text.
  return {
    ...kind,
    options: { template, completion_template: ` ${written(completion)}` },
    columns: { ...columns, prompt: prompt.map(({ name }) => name), by },
  };
}

/** `dialogue: {{ dialogue }}` and an empty line, where the row has it. */
function promptPart({ name, gaps }: Column): string {
  const value = gaps ? rowEntry(name) : fieldExpression(name);
  const text = `${label(name)}: {{ ${value} }}\n\n`;
  return gaps ? `{% if ${value} %}${text}{% endif %}` : text;
}

function written({ name, gaps }: Column): string {
  return gaps ? `{{ ${rowEntry(name)} if ${rowEntry(name)} is not none else '' }}` : `{{ ${fieldExpression(name)} }}`;
}

/** The name of a column as text of a template: without what would begin an expression. */
function label(name: string): string {
  return name.replace(/[{}\s]+/g, ' ').trim() || 'text';
}
