import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'lowrank-build-'));
const at = (path: string): string => join(folder, path);
const build = (...args: string[]): number | null =>
  spawnSync(process.execPath, [resolve('scripts/build.mjs'), ...args], { cwd: folder }).status;

/** As an editor would leave it: later than whatever was built before. */
function write(path: string, text: string): void {
  writeFileSync(at(path), text);
  const later = new Date(Date.now() + 2000);
  utimesSync(at(path), later, later);
}

/** Moves what was written into the past, as time does. */
function age(...paths: string[]): void {
  for (const path of paths) utimesSync(at(path), new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('compiles again only where a source has changed, and after a build that failed', () => {
  for (const path of ['src', 'kernels', 'scripts']) mkdirSync(at(path));
  symlinkSync(resolve('node_modules'), at('node_modules'));
  const options = { rootDir: '..', outDir: '../dist', module: 'NodeNext', noEmitOnError: true, types: [] };
  writeFileSync(at('scripts/tsconfig.build.json'), JSON.stringify({ compilerOptions: options, include: ['../src'] }));
  writeFileSync(at('src/a.ts'), 'export const a = 1;\n');
  const output = at('dist/src/a.js');
  age('src/a.ts', 'src', 'kernels', 'scripts/tsconfig.build.json');

  expect(build('--if-needed')).toBe(0);
  const first = statSync(output).mtimeMs;
  expect(build('--if-needed')).toBe(0);
  expect(statSync(output).mtimeMs).toBe(first);

  write('src/a.ts', 'export const a: number = "";\n');
  expect(build('--if-needed')).not.toBe(0);
  age('src/a.ts', 'src');
  expect(existsSync(at('dist/.built'))).toBe(false);
  expect(build('--if-needed')).not.toBe(0);

  write('src/a.ts', 'export const a = 2;\n');
  expect(build('--if-needed')).toBe(0);
  expect(readFileSync(output, 'utf8')).toContain('a = 2');
});
