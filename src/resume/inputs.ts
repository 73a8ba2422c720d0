import * as z from 'zod';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from '../adapters/peft/files.js';
import type { RunConfig } from '../config/schema.js';
import { partsOf, type DataPart } from '../data/parts.js';
import type { DataSource } from '../data/row.js';
import { FormatError } from '../errors.js';
import { readJson, type Directory } from '../io/directory.js';
import { hashFiles, hashRows, hashTokenizer, hashWeights } from '../record/hashes.js';
import { optionDifferences, type Whose } from './options.js';

/** In a checkpoint: what the run was made of. */
export const INPUTS_FILE = 'run_inputs.json';

const hashes = z.record(z.string(), z.string());
const schema = z.object({
  format: z.literal(1),
  /** The backend that computed: another one rounds otherwise. */
  backend: z.string(),
  /** SHA-256 of each file, by what it is to the run and its name there. */
  files: z.record(z.string(), hashes),
  config: z.record(z.string(), z.unknown()),
});

/** Read after the last step: other rows change nothing of a run that goes on. */
const TEST_ROWS = 'data.test';

/** All that the numbers of a run follow from. */
export type RunInputs = z.infer<typeof schema>;

type Sources = readonly (DataSource | DataPart)[];

export interface InputSources {
  readonly model: Directory;
  readonly data: {
    readonly train: Sources;
    readonly validation?: Sources | undefined;
    readonly test?: Sources | undefined;
  };
  readonly initFrom?: Directory | undefined;
}

/** Reads everything once, piece by piece. */
export async function hashRunFiles({ model, data, initFrom }: InputSources): Promise<RunInputs['files']> {
  return {
    'base model': { ...(await hashFiles(model, ['config.json'])), ...(await hashWeights(model)) },
    tokenizer: await hashTokenizer(model),
    'data.train': await hashData(data.train),
    'data.validation': data.validation === undefined ? {} : await hashData(data.validation),
    [TEST_ROWS]: data.test === undefined ? {} : await hashData(data.test),
    'adapter.init_from': initFrom === undefined ? {} : await hashFiles(initFrom, [ADAPTER_CONFIG, ADAPTER_WEIGHTS]),
  };
}

/** @param files as {@link hashRunFiles} gives them. */
export function inputsOf(files: RunInputs['files'], config: RunConfig, backend: string): RunInputs {
  return { format: 1, backend, files, config: JSON.parse(JSON.stringify(config)) as Record<string, unknown> };
}

export function serializeInputs(inputs: RunInputs): string {
  return `${JSON.stringify(inputs, null, 1)}\n`;
}

/** @throws FormatError when the file is missing or broken. */
export async function readInputs(checkpoint: Directory): Promise<RunInputs> {
  const parsed = schema.safeParse(await readJson(checkpoint, INPUTS_FILE));
  if (!parsed.success) throw new FormatError(`${checkpoint.name}: no ${INPUTS_FILE} that this version knows`);
  return parsed.data;
}

/**
 * What is no longer as it was, one sentence each. @param of a run that goes on, or one that is finished: less of that
 * may differ.
 */
export function inputDifferences(
  before: RunInputs,
  now: RunInputs,
  config: RunConfig,
  of: Whose = 'continued',
): string[] {
  const compared = Object.entries(now.files).filter(([part]) => of === 'finished' || part !== TEST_ROWS);
  const files = compared.flatMap(([part, found]) => {
    const old = before.files[part] ?? {};
    return [...new Set([...Object.keys(old), ...Object.keys(found)])].flatMap((name) => {
      if (old[name] === found[name]) return [];
      if (found[name] === undefined) return [`${part}: ${name} is gone`];
      return [`${part}: ${name} ${old[name] === undefined ? 'was not there' : 'holds something else'}`];
    });
  });
  const backend =
    before.backend === now.backend ? [] : [`it computed on ${before.backend}, and this is ${now.backend}`];
  return [...files, ...backend, ...optionDifferences(before.config, config, of)];
}

/** By place in the list: data may have been moved, but not reordered. */
async function hashData(sources: Sources): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [i, source] of partsOf(sources)
    .flatMap((part) => part.sources)
    .entries()) {
    found[`file ${i + 1}`] = await hashRows(source);
  }
  return found;
}
