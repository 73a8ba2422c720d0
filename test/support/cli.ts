import { spawn, type ChildProcess } from 'node:child_process';
import { vi } from 'vitest';
import { createProgram } from '../../src/cli/program.js';
import { runProgram } from '../../src/cli/run.js';
import { VERBS } from '../../src/cli/verbs.js';

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process. */
export async function lowrank(...args: string[]): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += typeof text === 'string' ? text : new TextDecoder().decode(text);
      return true;
    }),
  );
  try {
    return { status: await runProgram(createProgram(VERBS), args), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** Runs a command from its sources in a process of its own, as a shell would. `watch` sees what it wrote so far. */
export function spawnLowrank(args: readonly string[], watch?: (stderr: string, child: ChildProcess) => void): Promise<Outcome> {
  const child = spawn(process.execPath, ['node_modules/vite-node/vite-node.mjs', 'src/cli/main.ts', '--', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    watch?.(stderr, child);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      resolve({ status, stdout, stderr });
    });
  });
}
