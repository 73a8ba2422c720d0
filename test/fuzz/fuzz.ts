import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import type { CaseReport, CaseRequest } from './child.js';

/** Limits of one case: seconds of computing, and MiB more than the process had before its first. */
const [SECONDS, MIB] = [5, 512];
/** Where the system does not tell how long a process has computed, or it does nothing at all. */
const WALL_SECONDS = 60;

export interface FuzzOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Only this one. */
  readonly only?: number;
  readonly note: (text: string) => void;
}

/** A case that ended otherwise than in a result or an own error. */
export interface Finding {
  readonly seed: number;
  readonly index: number;
  readonly problem: string;
  /** Its files. */
  readonly folder: string;
}

/**
 * Reads mutated files until the time is over; a child process reads them, so that a hang and a full memory end nothing
 * else.
 */
export async function fuzz({
  minutes,
  seed,
  only,
  note,
}: FuzzOptions): Promise<{ cases: number; findings: Finding[] }> {
  await mkdir('node_modules/.cache', { recursive: true });
  const bundle = await mkdtemp(resolve('node_modules/.cache/fuzz-'));
  const findings: Finding[] = [];
  const end = performance.now() + minutes * 60_000;
  let child: Reader | undefined;
  let [index, cases] = [only ?? 0, 0];
  try {
    await build({
      entryPoints: ['test/fuzz/child.ts'],
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
      outfile: join(bundle, 'child.mjs'),
    });
    do {
      child ??= await Reader.start(join(bundle, 'child.mjs'));
      const problem = await child.read({ seed, index });
      cases++;
      if (problem !== undefined) {
        child.stop();
        const folder = await mkdtemp(join(tmpdir(), `lowrank-fuzz-${seed}-${index}-`));
        child = await Reader.start(join(bundle, 'child.mjs'));
        await child.read({ seed, index, keep: folder });
        child.stop();
        child = undefined;
        findings.push({ seed, index, problem, folder });
        note(
          `seed ${seed}, case ${index}: ${problem}\n  files: ${folder}\n  again: npm run fuzz -- --seed ${seed} --case ${index}\n`,
        );
      }
      index++;
    } while (only === undefined && performance.now() < end);
  } finally {
    child?.stop();
    await rm(bundle, { recursive: true, force: true });
  }
  return { cases, findings };
}

class Reader {
  private constructor(
    private readonly child: ChildProcess,
    private readonly startMiB: number,
  ) {}

  static async start(script: string): Promise<Reader> {
    // Warnings of libraries about the files are of no use here.
    const child = fork(script, {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      execArgv: ['--max-old-space-size=1024'],
    });
    const { maxRssMiB } = await new Promise<CaseReport>((done, fail) => {
      child.once('message', (report) => done(report as CaseReport));
      child.once('exit', (code, signal) => fail(new Error(`the reading process ended: ${code ?? signal}`)));
    });
    child.removeAllListeners('exit');
    return new Reader(child, maxRssMiB);
  }

  /** What is wrong; undefined for a result or an own error within the limits. */
  read(request: CaseRequest): Promise<string | undefined> {
    const { child } = this;
    const [began, computed] = [performance.now(), this.computed()];
    return new Promise((done) => {
      const finish = (problem: string | undefined): void => {
        clearInterval(timer);
        child.removeAllListeners();
        done(problem);
      };
      const timer = setInterval(() => {
        const seconds = this.computed() - computed;
        if (seconds > SECONDS || performance.now() - began > WALL_SECONDS * 1000)
          finish(`no end after ${seconds.toFixed(1)} s of computing`);
      }, 250);
      child.once('message', (message) => {
        const { target, problem, maxRssMiB } = message as CaseReport;
        const more = maxRssMiB - this.startMiB;
        finish(
          problem === undefined
            ? more > MIB
              ? `${target}: ${more.toFixed(0)} MiB of memory`
              : undefined
            : `${target}: ${problem}`,
        );
      });
      child.once('exit', (code, signal) => finish(`the process ended: ${code ?? signal}`));
      child.send(request);
    });
  }

  stop(): void {
    this.child.removeAllListeners();
    this.child.kill('SIGKILL');
  }

  /** Seconds of computing; 0 where the system does not tell. */
  private computed(): number {
    try {
      const fields = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) / 100;
    } catch {
      return 0;
    }
  }
}
