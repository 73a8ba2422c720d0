import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Kills the processes that a process has started, as the kernel does where memory is short: as soon as there is one. A
 * process that starts none ends by itself, or at the deadline.
 */
export function killChildren(child: ChildProcess, deadline = performance.now() + 60_000): void {
  const pids = child.exitCode === null && child.signalCode === null ? childrenOf(child.pid as number) : undefined;
  if (pids?.length === 0 && performance.now() < deadline) setTimeout(() => killChildren(child, deadline), 5);
  else if (pids?.length === 0) child.kill('SIGKILL');
  for (const pid of pids ?? []) process.kill(pid, 'SIGKILL');
}

/** Of Linux. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((text) => text !== '')
    .map(Number);
}
