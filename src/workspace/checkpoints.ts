import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDirectory, localDirectory, stageDirectory, writeError } from '../io/node.js';
import { checkpointName, checkpointStep, type CheckpointInfo } from '../resume/checkpoint.js';
import { manifestProblem } from '../resume/manifest.js';

/** What writers leave behind when they are killed: nothing else in an output folder has such names. */
const LEFTOVER = /^\.(?:.+\.)?[0-9a-f]{12}\.(?:new|old|gone|tmp)$/;

/**
 * Writes a checkpoint beside its place, flushes it to disk, and then gives it its name: whoever sees
 * `checkpoint-<step>` sees all of it.
 * @returns its path.
 * @throws LowrankError when the disk is full; what was there stays.
 */
export async function writeCheckpoint(
  folder: string,
  files: Readonly<Record<string, Uint8Array | string>>,
  { name }: CheckpointInfo,
): Promise<string> {
  const path = join(folder, name);
  const staged = await stageDirectory(path);
  try {
    for (const [file, content] of Object.entries(files)) await writeFile(join(staged.path, file), content);
    await staged.commit();
  } catch (error) {
    await staged.discard();
    throw writeError(error, path);
  }
  return path;
}

/** Steps of the checkpoints in a folder, whole or not, falling. */
export async function listCheckpoints(folder: string): Promise<number[]> {
  if (!(await isDirectory(folder))) return [];
  return (await readdir(folder)).flatMap((name) => checkpointStep(name) ?? []).sort((a, b) => b - a);
}

/**
 * The newest checkpoint that is whole. Reads each that it considers.
 * @param note is told of those that are passed over.
 */
export async function newestCheckpoint(folder: string, note: (text: string) => void): Promise<string | undefined> {
  for (const step of await listCheckpoints(folder)) {
    const path = join(folder, checkpointName(step));
    const problem = await manifestProblem(localDirectory(path));
    if (problem === undefined) return path;
    note(`${path} is passed over: ${problem}`);
  }
  return undefined;
}

/** Removes the oldest checkpoints beyond `limit`, but neither the newest nor that of the best evaluation. */
export async function pruneCheckpoints(folder: string, limit: number, best: number | undefined): Promise<void> {
  const steps = await listCheckpoints(folder);
  const kept = new Set(steps.slice(0, 1));
  if (best !== undefined && steps.includes(best)) kept.add(best);
  for (const step of steps) if (kept.size < limit) kept.add(step);
  for (const step of steps) if (!kept.has(step)) await removeCheckpoint(folder, step);
}

/** Removes the checkpoints after a step: those of a continuation that is no longer the one. */
export async function removeLater(folder: string, step: number): Promise<void> {
  for (const each of await listCheckpoints(folder)) if (each > step) await removeCheckpoint(folder, each);
}

/** Removes what killed writers have left behind. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (LEFTOVER.test(name)) await rm(join(folder, name), { recursive: true, force: true });
}

/** Out of sight first: half of a checkpoint is never seen under its name. */
async function removeCheckpoint(folder: string, step: number): Promise<void> {
  const name = checkpointName(step);
  const gone = join(folder, `.${name}.${randomBytes(6).toString('hex')}.gone`);
  await rename(join(folder, name), gone);
  await rm(gone, { recursive: true, force: true });
}
