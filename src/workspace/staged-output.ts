import { rmSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isFile, stageDirectory, type StagedDirectory } from '../io/node.js';
import { LOCK_FILE, lockFolder, requireUnlocked } from './folder-lock.js';
import { endOnInterrupt } from './interrupt.js';

/** A folder in the making without a lock may be about to get it. */
const UNLOCKED_MS = 60_000;

/**
 * Prepares an output folder aside. Signals, closed pipes and errors that end the process take it away again; what a
 * killed process has left beside the same place is removed first.
 * @param onStop called when a signal ends the process before the folder has taken its place
 * @throws ConfigError when `path` is a file.
 */
export async function stageOutput(path: string, onStop: () => void = () => undefined): Promise<StagedDirectory> {
  const interrupts = endOnInterrupt(onStop);
  let remove = (): void => undefined;
  const done = (): void => {
    process.off('exit', remove);
    interrupts.stop();
  };
  try {
    await removeAbandoned(resolve(path));
    const staged = await stageDirectory(path);
    remove = () => rmSync(staged.path, { recursive: true, force: true, maxRetries: 3 });
    process.on('exit', remove);
    const lock = await lockFolder(staged.path);
    interrupts.resume();
    return {
      path: staged.path,
      async commit() {
        // Between its two renames there is no folder of that name.
        interrupts.hold();
        lock.release();
        await staged.commit();
        done();
      },
      async discard() {
        interrupts.hold();
        lock.release();
        await staged.discard();
        done();
      },
    };
  } catch (error) {
    remove();
    done();
    throw error;
  }
}

/** Folders of dead processes that were to become this one. */
async function removeAbandoned(target: string): Promise<void> {
  const prefix = `.${basename(target)}.`;
  const names = await readdir(dirname(target)).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(prefix) || !/^[0-9a-f]{12}\.new$/.test(name.slice(prefix.length))) continue;
    const folder = join(dirname(target), name);
    if (await isAbandoned(folder)) await rm(folder, { recursive: true, force: true });
  }
}

async function isAbandoned(folder: string): Promise<boolean> {
  if (!(await isFile(join(folder, LOCK_FILE)))) {
    const changed = (await stat(folder).catch(() => undefined))?.mtimeMs;
    return changed !== undefined && Date.now() - changed > UNLOCKED_MS;
  }
  return requireUnlocked(folder).then(
    () => true,
    () => false,
  );
}
