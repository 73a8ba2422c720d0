import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, utimesSync } from 'node:fs';
import { constants, copyFile, link, readFile, readlink, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import { isRecord } from '../io/json.js';

/** In an output folder while a run writes to it. */
export const LOCK_FILE = '.lowrank.lock';

/**
 * How often a holder shows that it is there, and after how long a silent one is given up whose process cannot be asked
 * for from here.
 */
const [HEARTBEAT_MS, SILENT_MS] = [10_000, 600_000];

/** What a lock says of its process. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  /**
   * When the process began, as its system counts; null where that cannot be asked. A number is given to many processes,
   * one after another.
   */
  readonly process_start: string | null;
  /**
   * Where the number means this process: the start of the system and its PID namespace; null where that cannot be
   * asked.
   */
  readonly namespace: string | null;
  /** For people. */
  readonly since: string;
}

export interface FolderLock {
  /** Removes the lock, unless it is another's by now. */
  release(): void;
}

/** Locks of this process, by path: what they say, and their heartbeat. */
const held = new Map<string, { readonly text: string; readonly timer: NodeJS.Timeout }>();

/**
 * Takes a folder for this process, which may have it already. A lock is let go when the process ends, in whatever
 * order; that of a killed process is taken over.
 * @throws ConfigError when another process has it.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const path = join(folder, LOCK_FILE);
  const own: Holder = {
    pid: process.pid,
    host: hostname(),
    process_start: await processStart(process.pid),
    namespace: await pidNamespace(),
    since: new Date().toISOString(),
  };
  const text = `${JSON.stringify(own)}\n`;
  // Nobody sees a lock that says nothing yet.
  const prepared = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  await writeFile(prepared, text);
  try {
    while (!(await placed(prepared, path))) {
      await requireUnlocked(folder);
      await removeStale(path, await readText(path));
    }
  } finally {
    await rm(prepared, { force: true });
  }
  keep(path, text);
  return {
    release: () => {
      letGo(path);
    },
  };
}

/** @throws ConfigError when another process, which may be alive, writes to the folder. */
export async function requireUnlocked(folder: string): Promise<void> {
  const path = join(folder, LOCK_FILE);
  const holder = parseHolder(await readText(path));
  if (holder === undefined || (await isStale(path, holder))) return;
  const near = await isNear(holder);
  const place = near
    ? ''
    : holder.host === hostname()
      ? ` of another container or machine, called ${holder.host} too,`
      : ` on ${holder.host}`;
  const advice = near
    ? 'wait for it, or stop it'
    : `wait for it; after ${SILENT_MS / 60_000} minutes without a sign of it, or when ${LOCK_FILE} is removed, another run may go on`;
  throw new ConfigError(
    `training.output_dir: ${folder} is being written to by process ${holder.pid}${place} since ${holder.since}: ${advice}`,
  );
}

/** Whether the process of a lock is gone, or is this one. */
async function isStale(path: string, holder: Holder): Promise<boolean> {
  if (!(await isNear(holder))) return silent(path);
  const { pid, process_start: start } = holder;
  if (!isAlive(pid)) return true;
  const now = await processStart(pid);
  return (start !== null && now !== null && start !== now) || pid === process.pid;
}

/**
 * Whether process numbers here are those of the holder: containers of one machine may share its name, and have numbers
 * of their own.
 */
async function isNear({ host, namespace }: Holder): Promise<boolean> {
  return host === hostname() && (namespace ?? null) === (await pidNamespace());
}

/** Source: pid_namespaces(7), random(4). */
async function pidNamespace(): Promise<string | null> {
  const boot = (await readText('/proc/sys/kernel/random/boot_id'))?.trim();
  try {
    return `${boot ?? ''} ${await readlink('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}

/** By the clock of the disk, on which both write. */
async function silent(path: string): Promise<boolean> {
  const probe = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeFile(probe, '');
    return (await stat(probe)).mtimeMs - (await stat(path)).mtimeMs > SILENT_MS;
  } catch {
    // Gone in the meantime, or a folder that cannot be written to, which is told elsewhere.
    return false;
  } finally {
    await rm(probe, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there, and another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Clock ticks from the system's start to the process's, on Linux. Source: proc(5), field 22. */
async function processStart(pid: number): Promise<string | null> {
  const text = await readText(`/proc/${pid}/stat`);
  // The second field is a name in parentheses, which may hold spaces.
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}

/** Puts the file in its place unless there is one. */
async function placed(prepared: string, path: string): Promise<boolean> {
  try {
    await link(prepared, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
  }
  // A disk without links.
  try {
    await copyFile(prepared, path, constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Takes a stale lock away. What another process has put there since is put back. */
async function removeStale(path: string, stale: string | undefined): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}.old`;
  try {
    await rename(path, aside);
  } catch {
    return; // another process was faster
  }
  if ((await readText(aside)) !== stale) await placed(aside, path);
  await rm(aside, { force: true });
}

function keep(path: string, text: string): void {
  clearInterval(held.get(path)?.timer);
  const timer = setInterval(() => {
    try {
      if (isOwn(path)) utimesSync(path, new Date(), new Date());
    } catch {
      // The folder is gone, or its disk for now.
    }
  }, HEARTBEAT_MS);
  timer.unref();
  held.set(path, { text, timer });
  process.off('exit', letAllGo);
  process.on('exit', letAllGo);
}

function letGo(path: string): void {
  if (isOwn(path)) rmSync(path, { force: true });
  clearInterval(held.get(path)?.timer);
  held.delete(path);
}

/** Whether the lock is there and this process's: the folder may have been removed, or be another's by now. */
function isOwn(path: string): boolean {
  try {
    return readFileSync(path, 'utf8') === held.get(path)?.text;
  } catch {
    return false;
  }
}

function letAllGo(): void {
  for (const path of [...held.keys()]) letGo(path);
}

function parseHolder(text: string | undefined): Holder | undefined {
  try {
    const json: unknown = JSON.parse(text ?? '');
    return isRecord(json) && typeof json['pid'] === 'number' && typeof json['host'] === 'string'
      ? (json as unknown as Holder)
      : undefined;
  } catch {
    return undefined;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
