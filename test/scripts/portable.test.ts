import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const PATIENCE = 900_000;

describe.skipIf(process.platform !== 'linux' || process.arch !== 'x64')('the portable folder', () => {
  let target: string;
  beforeAll(async () => {
    target = await mkdtemp(join(tmpdir(), 'portable-'));
    // It fails where the folder has more than 60 MB.
    const { stdout } = await run(process.execPath, ['scripts/portable.mjs', target]);
    expect(stdout).toMatch(/lowrank: \d+\.\d MB/);
  }, PATIENCE);
  afterAll(async () => {
    await rm(target, { recursive: true, force: true });
  });

  /** In an environment with nothing but a folder for temporary files. */
  const lowrank = async (...args: string[]): Promise<string> => {
    const { stdout } = await run('/usr/bin/env', ['-i', `TMPDIR=${target}`, join(target, 'lowrank/lowrank'), ...args], {
      maxBuffer: 2 ** 24,
    });
    return stdout;
  };

  it(
    'says what the machine has, with the Node and the Dawn that it has unpacked',
    async () => {
      const report = JSON.parse(await lowrank('doctor', '--json')) as {
        version: string;
        devices: { device: string; available: boolean; features?: string[] }[];
      };
      expect(report.version).toBe((JSON.parse(await readFile('package.json', 'utf8')) as { version: string }).version);
      const wasm = report.devices.find(({ device }) => device === 'wasm');
      expect(wasm?.available).toBe(true);
      expect(wasm?.features).toContain('relaxed-simd');
      const unpacked = await readdir(join(target, `lowrank-${process.getuid?.() ?? ''}`));
      expect(unpacked.sort()).toEqual([
        expect.stringMatching(/^dawn-[0-9a-f]{16}\.node$/),
        expect.stringMatching(/^node-[0-9a-f]{16}$/),
      ]);
    },
    PATIENCE,
  );

  it(
    'runs a checked step',
    async () => {
      const sizes = ['--shape', 'tiny', '--layers', '1', '--batch', '1', '--seq', '8', '--steps', '1', '--warmup', '1'];
      const report = JSON.parse(
        await lowrank('bench', 'step', '--device', 'wasm', '--threads', '2', ...sizes, '--json'),
      ) as { threads: number; check: object | null; loss: number };
      expect(report.threads).toBe(2);
      expect(report.check).not.toBeNull();
      expect(report.loss).toBeGreaterThan(0);
    },
    PATIENCE,
  );
});
