import { appendFile, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { serializeConfig } from '../config/load.js';
import type { RunConfig } from '../config/schema.js';
import type { StepMetrics } from '../train/metrics.js';
import { ConfigError } from '../errors.js';
import { isDirectory, isFile, syncFile, writeError, writeFileAtomic } from '../io/node.js';
import { encodeEvent, FILE_VERSION, stepOfEvent, type TensorBoardEvent } from '../io/tensorboard.js';
import { readTfRecords, tfRecord } from '../io/tfrecord.js';

/** In the output folder, where no `training.logging_dir` is given. */
export const EVENTS_FOLDER = 'runs';

/** TensorBoard takes every file for one of events that has `tfevents` in its name. */
const PREFIX = 'events.out.tfevents.';

export interface EventsRequest {
  readonly folder: string;
  /** Markdown by tag, at the start of a run. */
  readonly texts: Readonly<Record<string, string>>;
}

/** What a run goes on from. */
export interface EventsPast {
  /** The last step of it. */
  readonly step: number;
  /** Its output folder. */
  readonly folder: string;
  /** Of its metrics.jsonl, up to the step. */
  readonly lines: readonly string[];
}

/** The log of a run as event files in a folder. */
export interface EventLog {
  /** @throws ConfigError when another run's events are there. */
  requireEmpty(): Promise<void>;
  /** Begins a file. Of a run that is gone on with no event after its step is left; a new run finds an empty folder. */
  begin(past: EventsPast | undefined): Promise<void>;
  /** Adds the numbers of a line of metrics.jsonl. */
  append(metrics: object): Promise<void>;
  /** Flushes them to disk. */
  sync(): Promise<void>;
}

/** Undefined where `training.report_to` does not ask for events. */
export function eventsOf(config: RunConfig): EventsRequest | undefined {
  const { report_to: reportTo, logging_dir: folder, output_dir: output } = config.training;
  if (![reportTo].flat().includes('tensorboard')) return undefined;
  // Four spaces make it a block of code.
  return {
    folder: folder ?? join(output, EVENTS_FOLDER),
    texts: { 'args/text_summary': serializeConfig(config).replace(/^/gm, '    ') },
  };
}

export function eventLog({ folder: path, texts }: EventsRequest): EventLog {
  const folder = resolve(path);
  let file = '';
  let step = 0;
  const write = async (events: readonly Omit<TensorBoardEvent, 'wallTime'>[]): Promise<void> => {
    const records = events.map((event) => tfRecord(encodeEvent({ ...event, wallTime: Date.now() / 1000 })));
    try {
      // One write: what comes to its end survives the end of this process.
      await appendFile(file, Buffer.concat(records));
    } catch (error) {
      throw writeError(error, file);
    }
  };
  return {
    async requireEmpty() {
      if ((await eventFiles(folder)).length > 0)
        throw new ConfigError(
          `training.logging_dir: ${path} holds the events of a run already; --set training.overwrite_output_dir=true replaces them`,
        );
    },
    async begin(past) {
      await mkdir(folder, { recursive: true });
      const kept = past === undefined ? [] : await keepUntil(folder, past);
      for (const old of await eventFiles(folder)) if (past === undefined) await rm(join(folder, old));
      file = await newFile(folder);
      step = past?.step ?? 0;
      // A TensorBoard that is open has read later events already.
      const begun =
        kept.length === 0
          ? [{ texts }, ...(past?.lines ?? []).map((line) => eventOf(JSON.parse(line) as object, 0))]
          : [{ restarts: true, step: step + 1 }];
      await write([{ fileVersion: FILE_VERSION }, ...begun]);
    },
    append(metrics) {
      const event = eventOf(metrics, step);
      step = event.step;
      return write([event]);
    },
    sync: () => syncFile(file),
  };
}

/**
 * A line of metrics.jsonl as transformers names its numbers: those of a step `train/…`, of a validation `eval/…`, of
 * the test `test/…`.
 */
function eventOf(metrics: object, before: number): { readonly step: number; readonly scalars: Record<string, number> } {
  const { step = before, epoch, metrics: ofObjective = {}, ...own } = metrics as Partial<StepMetrics>;
  const values = { ...own, ...ofObjective };
  const part = 'eval_loss' in values ? 'eval' : 'test_loss' in values ? 'test' : 'train';
  const numbers = Object.entries({ ...(part === 'train' ? { epoch } : {}), ...values }).filter(
    (entry): entry is [string, number] => typeof entry[1] === 'number',
  );
  return {
    step,
    scalars: Object.fromEntries(
      numbers.map(([name, value]) => [
        `${part}/${name === 'tokens' ? 'num_input_tokens_seen' : name.replace(`${part}_`, '')}`,
        value,
      ]),
    ),
  };
}

/**
 * Takes the events after the last step out of the files in the folder. Where there are none, those of the earlier run's
 * output folder are copied so far.
 * @returns the names of the files that are left.
 */
async function keepUntil(folder: string, { step, folder: earlier }: EventsPast): Promise<string[]> {
  const own = await eventFiles(folder);
  const from = own.length > 0 ? folder : join(earlier, EVENTS_FOLDER);
  const names = own.length > 0 ? own : await eventFiles(from);
  for (const name of names) {
    const records = readTfRecords(await readFile(join(from, name))).filter((event) => stepOfEvent(event) <= step);
    await writeFileAtomic(join(folder, name), Buffer.concat(records.map(tfRecord)));
  }
  return names;
}

async function eventFiles(folder: string): Promise<string[]> {
  return (await isDirectory(folder)) ? (await readdir(folder)).filter((name) => name.startsWith(PREFIX)).sort() : [];
}

/** TensorBoard reads the files of a folder in the order of their names. */
async function newFile(folder: string): Promise<string> {
  for (let second = Math.floor(Date.now() / 1000); ; second++) {
    const file = join(folder, `${PREFIX}${second}.${hostname()}`);
    if (!(await isFile(file))) return file;
  }
}
