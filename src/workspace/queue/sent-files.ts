import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, open, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Redis } from 'ioredis';
import type { AblationRun } from '../../ablation/runs.js';
import { ConfigError } from '../../errors.js';
import { parseTasks } from '../../eval/tasks/schema.js';
import { hashSource } from '../../io/hash.js';
import { fileSource, isFile, writeFileAtomic } from '../../io/node.js';
import { taskFiles } from '../task-files.js';
import type { EvaluationFiles } from '../ablation/evaluation-files.js';
import { entriesOf, type Locate } from '../data-files.js';
import { formatBytes } from '../../format.js';
import type { AllowedFolders } from './allowed-paths.js';
import { fileKey, KEPT_SECONDS, type RunJob, type SentFile } from './job.js';
import { MOST_BYTES, PIECE, sha256Of } from './messages.js';

/**
 * Puts the single files that runs read into Redis, each once under the hash of what it holds: one that is there
 * already, for whatever ablation, is kept for longer. Folders and data sets of the Hub go by their names, and so do
 * files that are too large.
 */
export class FileSender {
  private readonly sent = new Map<string, Promise<SentFile | undefined>>();

  constructor(
    private readonly redis: Redis,
    private readonly note: (text: string) => void,
  ) {}

  /** The files of a run that a worker can fetch. */
  async send({ config }: AblationRun, evaluation: EvaluationFiles): Promise<SentFile[]> {
    const { train, validation, test } = config.data;
    const rows = [train, validation, test, evaluation.retain].flatMap(entriesOf).map(({ path }) => path);
    const found: SentFile[] = [];
    for (const path of new Set([...rows, ...(await evaluationFiles(evaluation))])) {
      const file = this.sent.get(path) ?? this.sendFile(path);
      this.sent.set(path, file);
      const known = await file;
      if (known !== undefined) found.push(known);
    }
    return found;
  }

  private async sendFile(path: string): Promise<SentFile | undefined> {
    if (!(await isFile(path))) return undefined;
    const sha256 = await hashFile(path);
    const key = fileKey(sha256);
    const handle = await open(path);
    try {
      const { size: bytes } = await handle.stat();
      if (bytes > MOST_BYTES) {
        this.note(
          `${path} has ${formatBytes(bytes)}, and at most ${formatBytes(MOST_BYTES)} go through Redis: workers need it at the same path`,
        );
        return undefined;
      }
      const pieces = Math.ceil(bytes / PIECE);
      // The count says that all pieces are there.
      if ((await this.redis.hget(key, 'pieces')) !== String(pieces)) {
        for (let i = 0; i < pieces; i++) {
          const { buffer, bytesRead } = await handle.read(Buffer.alloc(PIECE), 0, PIECE, i * PIECE);
          await this.redis.hset(key, String(i), buffer.subarray(0, bytesRead));
        }
        await this.redis.hset(key, 'pieces', String(pieces));
      }
      await this.redis.expire(key, KEPT_SECONDS);
      return { path, sha256, bytes };
    } finally {
      await handle.close();
    }
  }
}

async function evaluationFiles({ tasks, tasksData }: EvaluationFiles): Promise<string[]> {
  if (tasks === undefined) return [];
  return [tasks, ...taskFiles(parseTasks(await readFile(tasks, 'utf8'), tasks), tasksData ?? dirname(tasks))];
}

let folder: string | undefined;

/** Of this process; gone with it. */
function ownFolder(): string {
  if (folder !== undefined) return folder;
  const made = mkdtempSync(join(tmpdir(), 'lowrank-files-'));
  process.on('exit', () => rmSync(made, { recursive: true, force: true }));
  return (folder = made);
}

/**
 * Where the files of a job lie on this machine: where their paths say, if they hold the same there, else in a folder of
 * this process.
 * @throws ConfigError for one that is neither here nor in Redis.
 */
export async function locateFiles(
  redis: Redis,
  { sent }: RunJob,
  worker: string,
  allowed: AllowedFolders,
): Promise<Locate> {
  const places = new Map<string, string>();
  for (const file of sent) {
    const here =
      (await allowed.allows(file.path)) && (await isFile(file.path)) && (await hashFile(file.path)) === file.sha256;
    places.set(file.path, here ? file.path : await fetchFile(redis, file, worker));
  }
  return (path) => places.get(path) ?? path;
}

/**
 * Its content is checked before there is a file of it, and its name has nothing of the given path but the ending that
 * tells its format.
 */
async function fetchFile(redis: Redis, { path, sha256, bytes }: SentFile, worker: string): Promise<string> {
  const ending = /(?:\.[A-Za-z0-9]{1,10}){1,2}$/.exec(basename(path))?.[0] ?? '';
  const place = join(ownFolder(), sha256, `rows${ending}`);
  if (await isFile(place)) return place;
  const gone = (): ConfigError =>
    new ConfigError(
      `${worker} has no ${path} as it was queued, and what was in Redis is gone: start lowrank ablate once more`,
    );
  const key = fileKey(sha256);
  const pieces = Math.ceil(bytes / PIECE);
  if ((await redis.hget(key, 'pieces')) !== String(pieces)) throw gone();
  const found: Buffer[] = [];
  for (let i = 0; i < pieces; i++) {
    const length = Math.min(PIECE, bytes - i * PIECE);
    const piece = (await redis.hstrlen(key, String(i))) === length ? await redis.hgetBuffer(key, String(i)) : null;
    if (piece?.length !== length) throw gone();
    found.push(piece);
  }
  const content = Buffer.concat(found);
  if (sha256Of(content) !== sha256)
    throw new ConfigError(
      `${worker}: what is in Redis for ${path} is not what was queued: start lowrank ablate once more`,
    );
  await mkdir(dirname(place), { recursive: true });
  await writeFileAtomic(place, content);
  return place;
}

async function hashFile(path: string): Promise<string> {
  const source = await fileSource(path);
  try {
    return await hashSource(source);
  } finally {
    await source.close();
  }
}
