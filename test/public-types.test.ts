import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'lowrank-types-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!existsSync(resolve('dist/types/src/index.d.ts')))('the declarations of the package', () => {
  it('let the program of README.md compile under strict settings, without skipLibCheck and without further types', () => {
    const example = /```ts\n([^`]*from 'lowrank'(?:[^`]|`[^`\n]*`)*?)```/.exec(
      readFileSync('README.md', 'utf8'),
    )?.[1] as string;
    expect(example).toContain("from 'lowrank/node'");
    const installed = join(folder, 'node_modules/lowrank');
    mkdirSync(installed, { recursive: true });
    cpSync('dist/types', join(installed, 'dist/types'), { recursive: true });
    cpSync('package.json', join(installed, 'package.json'));
    // What an installer puts beside it, of which only zod has a place in public types.
    symlinkSync(resolve('node_modules/zod'), join(folder, 'node_modules/zod'));
    writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
    writeFileSync(join(folder, 'mine.ts'), example);
    const compilerOptions = {
      target: 'ES2022',
      module: 'NodeNext',
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      preserveSymlinks: true,
      types: [],
      noEmit: true,
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['mine.ts'] }));
    const compiler = createRequire(import.meta.url).resolve('typescript/lib/tsc.js');
    let output = '';
    try {
      execFileSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' });
    } catch (error) {
      output = (error as { stdout: string }).stdout;
    }
    expect(output).toBe('');
  });
});
