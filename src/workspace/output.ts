import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ADAPTER_CONFIG } from '../adapters/peft/files.js';
import { ConfigError } from '../errors.js';
import { isDirectory, isFile, syncFile, writeError, writeFileAtomic } from '../io/node.js';
import { sizeText } from '../plan/limits.js';
import { checkpointName, type CheckpointInfo } from '../resume/checkpoint.js';
import { MANIFEST_FILE } from '../resume/manifest.js';
import type { DiskNeeds } from '../finetune/disk-needs.js';
import {
  listCheckpoints,
  newestCheckpoint,
  pruneCheckpoints,
  removeLater,
  removeLeftovers,
  writeCheckpoint,
} from './checkpoints.js';
import { LOCK_FILE, lockFolder, requireUnlocked, type FolderLock } from './folder-lock.js';
import { eventLog, EVENTS_FOLDER, type EventsRequest } from './event-log.js';
import { bytesBelow, PROBE, requireSpace, requireWritable } from './writable.js';

export const METRICS_FILE = 'metrics.jsonl';

type Files = Readonly<Record<string, Uint8Array | string>>;

/** The folder that a run writes to. Nothing is touched before `begin`. */
export interface OutputFolder {
  readonly path: string;
  /** The checkpoint to go on from; undefined starts from the beginning. */
  readonly resume: string | undefined;
  /**
   * Makes the folder and takes it for this process. A new run gets an empty log and no checkpoints; one that goes on
   * keeps the log and the checkpoints up to `step`.
   * @throws ConfigError when another process has taken it meanwhile.
   */
  begin(step: number): Promise<void>;
  /** @throws ConfigError where the disk has less room than a run needs. */
  requireSpace(needs: DiskNeeds): Promise<void>;
  /** Adds one line to metrics.jsonl, and its numbers to the events where they are asked for. */
  append(metrics: object): Promise<void>;
  /** Writes a checkpoint, with the log so far flushed to disk before it. @returns its path. */
  save(files: Files, info: CheckpointInfo, limit: number | undefined): Promise<string>;
  /** Puts the files of the result in place, all written before the first of them appears. */
  finish(files: Files): Promise<void>;
  /** Lets other processes write to the folder. */
  close(): void;
}

export interface OutputRequest {
  readonly overwrite: boolean;
  /** `true` goes on from the newest whole checkpoint in the folder, if there is one; a path from that one. */
  readonly resume: boolean | string;
  /** Where TensorBoard reads the log, if it shall. */
  readonly events?: EventsRequest | undefined;
  readonly note: (text: string) => void;
}

/**
 * Checks that a run may write to the folder, and finds the checkpoint that it goes on from.
 * @throws ConfigError when it holds an earlier run that is neither gone on from nor overwritten, is a file, is being
 * written to, or cannot be written to.
 */
export async function planOutput(
  path: string,
  { overwrite, resume: wanted, events: asked, note }: OutputRequest,
): Promise<OutputFolder> {
  const folder = resolve(path);
  const wantedFolder = { path: folder, option: 'training.output_dir', given: path };
  await requireUnlocked(folder);
  await requireWritable(wantedFolder);
  const resume = wanted === false ? undefined : await findCheckpoint(folder, wanted, note);
  const own = wanted === true || (resume !== undefined && dirname(resume) === folder);
  const present = await namesIn(folder);
  const foreign = own ? resume === undefined && present.some(isForeign) : present.length > 0;
  if (foreign && !overwrite)
    throw new ConfigError(`training.output_dir: ${path} holds ${await describePresent(folder, present, own)}`);
  if (asked !== undefined)
    await requireWritable({ path: asked.folder, option: 'training.logging_dir', given: asked.folder });
  const events = asked === undefined ? undefined : eventLog(asked);
  if (resume === undefined && wanted !== true && !overwrite) await events?.requireEmpty();
  const log = join(folder, METRICS_FILE);
  let lock: FolderLock | undefined;
  return {
    path: folder,
    resume,
    async begin(step) {
      try {
        await mkdir(folder, { recursive: true });
        lock = await lockFolder(folder);
        if ((await namesIn(folder)).join('/') !== present.join('/'))
          throw new ConfigError(
            `training.output_dir: ${path}: another process has written to it while this one was starting`,
          );
        await removeLeftovers(folder);
        // Those of another run are none of this one's past.
        await removeLater(folder, resume !== undefined && dirname(resume) === folder ? step : 0);
        const lines = resume === undefined ? [] : await logUntil(join(dirname(resume), METRICS_FILE), step);
        await writeFileAtomic(log, lines.map((line) => `${line}\n`).join(''));
        await events?.begin(resume === undefined ? undefined : { step, folder: dirname(resume), lines });
      } catch (error) {
        throw writeError(error, folder);
      }
    },
    async requireSpace({ total, checkpoints, checkpointBytes }) {
      // Those of an earlier run are removed when this one begins.
      const removed =
        resume === undefined
          ? (
              await Promise.all(
                (await listCheckpoints(folder)).map((step) => bytesBelow(join(folder, checkpointName(step)))),
              )
            ).reduce((sum, bytes) => sum + bytes, 0)
          : 0;
      const what =
        checkpoints === 0
          ? 'the files of the run'
          : `${checkpoints} checkpoint${checkpoints === 1 ? '' : 's'} of about ${sizeText(checkpointBytes)} (training.save_total_limit keeps fewer) and the result`;
      await requireSpace(wantedFolder, total, what, removed);
    },
    async append(metrics) {
      try {
        // One write a line: a reader never sees half of one.
        await appendFile(log, `${JSON.stringify(metrics)}\n`);
      } catch (error) {
        throw writeError(error, log);
      }
      await events?.append(metrics);
    },
    async save(files, info, limit) {
      await syncFile(log);
      await events?.sync();
      const written = await writeCheckpoint(folder, files, info);
      if (limit !== undefined) await pruneCheckpoints(folder, limit, info.best?.step);
      return written;
    },
    async finish(files) {
      await placeTogether(folder, files);
    },
    close: () => lock?.release(),
  };
}

/** What lies in a folder, in order. A lock that is left there belongs to nobody. */
async function namesIn(folder: string): Promise<string[]> {
  return (await isDirectory(folder))
    ? (await readdir(folder)).filter((name) => !name.startsWith(LOCK_FILE) && !PROBE.test(name)).sort()
    : [];
}

/** A run that was stopped before its first checkpoint leaves its logs, and may leave something half-written. */
function isForeign(name: string): boolean {
  return name !== METRICS_FILE && name !== EVENTS_FOLDER && !name.startsWith('.');
}

async function findCheckpoint(
  folder: string,
  wanted: true | string,
  note: (text: string) => void,
): Promise<string | undefined> {
  if (wanted !== true) {
    const path = resolve(wanted);
    if (!(await isFile(join(path, MANIFEST_FILE)))) throw new ConfigError(`--resume: ${wanted} is no checkpoint`);
    return path;
  }
  const found = await newestCheckpoint(folder, note);
  if (found === undefined && (await listCheckpoints(folder)).length === 0)
    note(`no checkpoint in ${folder} yet: starting from the beginning`);
  return found;
}

async function describePresent(folder: string, present: readonly string[], resuming: boolean): Promise<string> {
  const replace = '--set training.overwrite_output_dir=true replaces an earlier run';
  const checkpoints = await listCheckpoints(folder);
  if (resuming)
    return `${checkpoints.length > 0 ? 'no whole checkpoint' : 'files, but no checkpoint'} to go on from; ${replace}`;
  if (checkpoints.length > 0) return `a run already; --resume goes on with it, ${replace}`;
  if (!present.some(isForeign))
    return `the log of a run that had no checkpoint yet; --resume starts it again, ${replace}`;
  return `files already, and no checkpoint that --resume could go on from; ${replace}`;
}

/** The lines of a log up to a step, without those that a crash cut short. */
async function logUntil(log: string, step: number): Promise<string[]> {
  const text = (await isFile(log)) ? await readFile(log, 'utf8') : '';
  return text.split('\n').filter((line) => {
    const at = stepOf(line);
    return at !== undefined && at <= step;
  });
}

function stepOf(line: string): number | undefined {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    return typeof step === 'number' ? step : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A crash leaves either the earlier adapter, or a folder without adapter_config.json, which nothing takes for an
 * adapter: never the weights of one run beside the settings of another.
 */
export async function placeTogether(folder: string, files: Files): Promise<void> {
  const stage = join(folder, `.${randomBytes(6).toString('hex')}.new`);
  try {
    for (const [name, content] of Object.entries(files)) await writeFileAtomic(join(stage, name), content);
    await rm(join(folder, ADAPTER_CONFIG), { force: true });
    const names = Object.keys(files).filter((name) => name !== ADAPTER_CONFIG);
    if (files[ADAPTER_CONFIG] !== undefined) names.push(ADAPTER_CONFIG);
    for (const name of names) await rename(join(stage, name), join(folder, name));
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}
