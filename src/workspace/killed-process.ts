/** Times that a process may be killed at the same work before this is reported as an error. */
export const MOST_KILLS = 3;

/** Signals by which a user or the system ends a process on purpose. */
const ENDED_ON_PURPOSE = new Set(['SIGINT', 'SIGTERM', 'SIGHUP']);

/**
 * Whether a process that died of this is started again: the kernel kills with SIGKILL where memory is short, and it may
 * be there again.
 * @param by a signal, or the description of another end.
 */
export function isRetriedAfter(by: string): boolean {
  return !ENDED_ON_PURPOSE.has(by);
}

/** One line for the log. @param kills of this work so far, this one included. */
export function describeRetry(by: string, kills: number): string {
  return `its process ended with ${by}${memoryHint(by)}; once more, from its last checkpoint (${kills + 1} of ${MOST_KILLS})`;
}

/** The error after the last try. */
export function describeKills(by: string, kills: number): string {
  return `was ended ${kills} times, at last with ${by}${memoryHint(by)}`;
}

function memoryHint(by: string): string {
  return by === 'SIGKILL' ? ' (most often the system has too little memory)' : '';
}
