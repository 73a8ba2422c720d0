import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { hubDataset, relativePath } from '../../config/paths.js';
import { proposeEpochs, proposeMaxLength, writeProposal, type ConfigFacts } from '../../config/propose.js';
import { loadDataset } from '../../data/dataset.js';
import { brokenMarkers, sampleChat } from '../../data/findings.js';
import { describeFormat } from '../../data/formats.js';
import type { DataOptions } from '../../data/options.js';
import type { DataPart } from '../../data/parts.js';
import { proposeText, tableColumns, type TextProposal } from '../../data/propose.js';
import { surveyData, type DataSurvey } from '../../data/survey.js';
import { ConfigError } from '../../errors.js';
import { readModelConfig } from '../../model/load.js';
import { expectedTensors } from '../../model/tensors.js';
import { isDirectory, isFile, openDirectory, writeFileAtomic } from '../../node.js';
import { CHAT_TEMPLATE_NAMES } from '../../tokenizer/chat-templates.js';
import { loadTokenizer, type Tokenizer } from '../../tokenizer/tokenizer.js';
import { openDataFiles } from '../../workspace/data-files.js';
import { dataStem } from '../../workspace/data-stem.js';
import { tell } from '../options.js';
import { openQuestions, type Ask } from '../view/questions.js';
import { print } from '../view/terminal.js';

export interface InitOptions {
  readonly output: string | undefined;
  readonly model: string | undefined;
  /** Ask in a terminal. */
  readonly ask: boolean;
  readonly force: boolean;
}

/** The base where none is named: small enough for any machine, and with a chat template. */
const DEFAULT_MODEL = 'HuggingFaceTB/SmolLM2-135M-Instruct';

interface Base {
  readonly tokenizer: Tokenizer | undefined;
  readonly vocabSize: number;
  readonly parameters: number;
  readonly context: number;
}

/** Writes a config for the rows of `data`, asking in a terminal. */
export async function runInit(data: string, { output, model, ask: wanted, force }: InitOptions): Promise<void> {
  const file = output ?? `${dataStem(data)}.yaml`;
  if (await isDirectory(file)) throw new ConfigError(`${file}: is a folder; --output names the config to write`);
  if (!force && (await isFile(file)))
    throw new ConfigError(`${file} is there already: give another name by --output, or --force to replace it`);
  const folder = dirname(resolve(file));
  const named = (path: string): string => relativePath(folder, resolve(path)) ?? resolve(path);
  const files = await openDataFiles({ 'data.train': data }, { onMessage: tell });
  const questions = openQuestions(wanted);
  const { ask } = questions;
  try {
    const survey = await surveyData(files.sources['data.train']);
    const chosen =
      model ?? (questions.answered ? await ask('Base model, a folder or an id on the Hub', DEFAULT_MODEL) : undefined);
    const base = chosen === undefined ? undefined : await openBase(chosen);
    const proposal = await askText(survey, ask);
    const chat = await askTemplate(proposal, base, ask);
    const options = { ...proposal.options, ...(chat.name === undefined ? {} : { chat_template: chat.name }) };
    const lengths = await measure(survey, options, base);
    const maxLength = Number(
      await ask('Longest row in tokens', String(proposeMaxLength(lengths, base?.context)), positive),
    );
    const epochs = Number(await ask('Passes over the rows', String(proposeEpochs(survey.rows)), positive));
    const local = hubDataset(data) === undefined || (await isDirectory(data));
    const train = local ? named(data) : data;
    const name = chosen ?? DEFAULT_MODEL;
    const facts: ConfigFacts = {
      model: {
        name: (await isDirectory(name)) ? named(name) : name,
        chosen: chosen === undefined,
        parameters: base?.parameters,
        context: base?.context,
      },
      data: {
        train,
        validation: (await hasValidation(data)) ? train : undefined,
        rows: survey.rows,
        columns: survey.columns.map((column) => column.name),
        description: describeFormat(proposal.format),
        options,
        notes: [...notesOf(proposal), ...chat.notes],
        lengths,
      },
      addedTokens:
        base?.tokenizer === undefined || chat.name === undefined
          ? []
          : brokenMarkers(base.tokenizer, sampleChat(base.tokenizer, options)).map(({ marker }) => marker),
      outputDir: await freeOutput(folder, dataStem(file)),
      maxLength: Math.round(maxLength),
      epochs,
    };
    await mkdir(folder, { recursive: true });
    await writeFileAtomic(file, writeProposal(facts));
    const { unit, p50, p95, max } = lengths;
    print(
      `${data}: ${survey.rows} rows, ${describeFormat(proposal.format)}\n${unit} of a row: half have at most ${p50}, 95% at most ${p95}, the longest ${max}\nwrote ${file}; next:\n  lowrank data ${quoted(file)}\n  lowrank train ${quoted(file)}\n`,
    );
  } finally {
    questions.close();
    await files.close();
  }
}

async function openBase(model: string): Promise<Base> {
  const directory = await openDirectory(model, { weights: false, onMessage: tell });
  const [config, tokenizer] = [await readModelConfig(directory), await loadTokenizer(directory)];
  const parameters = [...expectedTensors(config).values()].reduce(
    (sum, shape) => sum + shape.reduce((product, n) => product * n, 1),
    0,
  );
  return { tokenizer, vocabSize: config.vocabSize, parameters, context: config.maxPositions };
}

async function askText(survey: DataSurvey, ask: Ask): Promise<TextProposal> {
  const proposal = proposeText(survey);
  const completion = proposal.columns?.completion;
  const columns = tableColumns(survey)?.map(({ name }) => name) ?? [];
  if (completion === undefined) return proposal;
  const answer = await ask(`Column that the model shall write (${columns.join(', ')})`, completion, (text) =>
    columns.includes(text) ? undefined : `there is no such column of text`,
  );
  return answer === completion ? proposal : proposeText(survey, answer);
}

/** The chat template to name in the config: none where the model has its own. */
async function askTemplate(
  { conversation }: TextProposal,
  base: Base | undefined,
  ask: Ask,
): Promise<{ name?: string; notes: string[] }> {
  if (!conversation) return { notes: [] };
  if (base === undefined || base.tokenizer?.chatTemplate !== undefined)
    return { notes: ['Conversations are written by the chat template of the model; chat_template names another one.'] };
  const known = CHAT_TEMPLATE_NAMES.join(', ');
  const name = await ask(`The model has no chat template; write conversations by (${known})`, 'chatml', (text) =>
    (CHAT_TEMPLATE_NAMES as readonly string[]).includes(text) ? undefined : 'there is no template of this name',
  );
  return {
    name,
    notes: [`The model has no chat template of its own. By name there are ${known}; a file is written ./NAME.jinja.`],
  };
}

function notesOf({ columns }: TextProposal): string[] {
  if (columns === undefined) return [];
  const { prompt, completion, unused, by } = columns;
  const left = unused.length === 0 ? [] : [`Not used: ${unused.join(', ')}.`];
  if (completion === undefined)
    return [`All of ${prompt.join(', ')} is learnt: there is no other column of text.`, ...left];
  const why = { name: 'by its name', place: 'the last column of text: check this', choice: 'as chosen' }[by];
  return [`Prompt: ${prompt.join(', ')}. Learnt is ${completion} (${why}).`, ...left];
}

/** Lengths of the sampled rows. Without a model their characters are counted. */
async function measure(
  { sample }: DataSurvey,
  options: DataOptions,
  base: Base | undefined,
): Promise<ConfigFacts['data']['lengths']> {
  const part: DataPart = { sources: sample };
  const lengths =
    base === undefined
      ? sample.flatMap(({ rows }) => rows.map(charactersOf))
      : Array.from(
          (await loadDataset({ source: part, tokenizer: base.tokenizer, options, vocabSize: base.vocabSize })).examples,
          ({ inputIds }) => inputIds.length,
        );
  lengths.sort((a, b) => a - b);
  const at = (share: number): number =>
    lengths[Math.min(lengths.length - 1, Math.ceil(share * lengths.length) - 1)] ?? 0;
  return {
    unit: base === undefined ? 'characters' : 'tokens',
    rows: lengths.length,
    p50: at(0.5),
    p95: at(0.95),
    max: at(1),
  };
}

function charactersOf(row: Readonly<Record<string, unknown>>): number {
  return Object.values(row).reduce<number>(
    (sum, value) => sum + (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).length,
    0,
  );
}

/** A folder for runs of the config that none has been written to. */
async function freeOutput(folder: string, name: string): Promise<string> {
  for (let number = 1; ; number++) {
    const path = `out/${name}${number === 1 ? '' : `-${number}`}`;
    if (!(await isDirectory(join(folder, path)))) return `./${path}`;
  }
}

/** Whether a folder or data set of the Hub has files for validation too. */
async function hasValidation(data: string): Promise<boolean> {
  if (!(await isDirectory(data)) && hubDataset(data) === undefined) return false;
  try {
    const files = await openDataFiles({ 'data.validation': data }, { onMessage: tell });
    await files.close();
    return true;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

function positive(answer: string): string | undefined {
  return Number(answer) >= 1 ? undefined : 'expected a number of at least 1';
}

function quoted(word: string): string {
  return /^[\w./=,:@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
