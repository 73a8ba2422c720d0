import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

const STDERR = 2;
// A pipe that nobody reads any more would otherwise never open.
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Runs `work` while what native code writes to standard error is thrown away: Dawn warns of limits of software adapters
 * that nobody here has set, and has no switch for that. Linux only, and only where standard error can be opened again
 * as it was: a terminal, a pipe, a file that is appended to. Elsewhere `work` runs as it is. What it does has to be
 * done when it returns, and must open no files.
 */
export function withQuietStderr<T>(work: () => T): T {
  const held: number[] = [];
  try {
    try {
      if (!canOpenAgain()) return work();
      for (const path of [`/proc/self/fd/${STDERR}`, '/dev/null']) held.push(openSync(path, FLAGS));
    } catch {
      return work();
    }
    const [again, nothing] = held as [number, number];
    replaceStderr(nothing);
    try {
      return work();
    } finally {
      replaceStderr(again);
    }
  } finally {
    held.forEach((fd) => closeSync(fd));
  }
}

/**
 * Node cannot duplicate a descriptor; but the lowest free number is given out, which is that of what was just closed.
 */
function replaceStderr(fd: number): void {
  closeSync(STDERR);
  try {
    openSync(`/proc/self/fd/${fd}`, FLAGS);
  } catch {
    // Its reader has gone meanwhile.
    openSync('/dev/null', FLAGS);
  }
}

function canOpenAgain(): boolean {
  if (process.platform !== 'linux') return false;
  const stats = fstatSync(STDERR);
  if (stats.isFIFO() || stats.isCharacterDevice()) return true;
  // Another descriptor of a file writes from its start, unless each write goes to its end.
  const [, flags = '0'] = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${STDERR}`, 'utf8')) ?? [];
  return stats.isFile() && (parseInt(flags, 8) & constants.O_APPEND) !== 0;
}
