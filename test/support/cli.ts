import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { build } from 'esbuild';
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
export function lowrank(...args: string[]): Promise<Outcome> {
  return lowrankWatched(() => undefined, ...args);
}

/** Runs a command in this process; `watch` sees each text as it is written to standard error. */
export async function lowrankWatched(watch: (text: string) => void, ...args: string[]): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((data) => {
      const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
      written[stream] += text;
      if (stream === 'stderr') watch(text);
      return true;
    }),
  );
  try {
    return { status: await runProgram(createProgram(VERBS), args), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

type Watch = (stderr: string, child: ChildProcess) => void;

/** Runs a command from its sources in a process of its own, as a shell would. `watch` sees what it wrote so far. */
export function spawnLowrank(args: readonly string[], watch?: Watch): Promise<Outcome> {
  return outcomeOf(
    spawn(process.execPath, ['node_modules/vite-node/vite-node.mjs', 'src/cli/main.ts', '--', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
    watch,
  );
}

/**
 * The sources of the command in a few files, for suites that start it often: vite-node takes most of a second longer.
 */
export async function bundleLowrank(): Promise<{ readonly main: string; remove(): Promise<void> }> {
  // Where its packages are found.
  await mkdir('node_modules/.cache', { recursive: true });
  const folder = await mkdtemp(resolve('node_modules/.cache/lowrank-'));
  await build({
    entryPoints: ['src/cli/main.ts'],
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outdir: folder,
  });
  return { main: join(folder, 'main.js'), remove: () => rm(folder, { recursive: true }) };
}

/** What becomes of a process whose output is piped. */
export function outcomeOf(child: ChildProcessByStdio<null, Readable, Readable>, watch?: Watch): Promise<Outcome> {
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
