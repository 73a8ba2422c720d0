import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ESLint } from 'eslint';
import { beforeAll, describe, expect, it } from 'vitest';

/** Lints text as if it stood in a file of the project (type-aware rules want one that exists). */
const eslint = new ESLint({ overrideConfigFile: 'scripts/eslint.config.js' });
async function lint(filePath: string, text: string): Promise<string[]> {
  const [result] = await eslint.lintText(text, { filePath });
  return (result?.messages ?? []).map(({ ruleId, message }) => `${ruleId ?? 'parser'}: ${message}`);
}

describe('the rules of the project', () => {
  it.each([
    ['@typescript-eslint/no-explicit-any', 'export const x = (y: any): number => Number(y);\n'],
    ['@typescript-eslint/no-floating-promises', 'const f = async (): Promise<number> => 1;\nf();\nexport { f };\n'],
    ['no-restricted-syntax', 'const x = 1;\nexport default x;\n'],
    ['no-restricted-syntax', 'const x = 1;\nexport { x as default };\n'],
    ['no-restricted-syntax', 'export const f = (t: { dataSync(): number[] }): number[] => t.dataSync();\n'],
  ])('%s catches %j', async (rule, text) => {
    const messages = await lint('src/random.ts', text);
    expect(messages.map((message) => message.split(':')[0])).toContain(rule);
  });

  it('leave good code alone', async () => {
    expect(
      await lint(
        'src/random.ts',
        "import { ConfigError } from './errors.js';\nexport const e = new ConfigError('');\n",
      ),
    ).toEqual([]);
  });
});

describe('private members of TensorFlow.js', () => {
  it.each([
    'export const f = (x: { tensorMap: object }): object => x.tensorMap;\n',
    "export const f = (x: Record<string, object>): object | undefined => x['uploadToGPU'];\n",
    'export interface Heap {\n  _malloc: (bytes: number) => number;\n}\n',
    "import * as tf from '@tensorflow/tfjs-core';\nexport const d = (): object => (tf.backend() as unknown as { device: object }).device;\n",
  ])('%j is caught outside kernels/tfjs alone', async (text) => {
    const rules = async (file: string): Promise<string[]> =>
      (await lint(file, text)).map((message) => message.split(':')[0] as string);
    expect(await rules('kernels/types.ts')).toContain('tfjs/no-private-members');
    expect(await rules('kernels/tfjs/engine.ts')).not.toContain('tfjs/no-private-members');
  });
});

describe('rooms', () => {
  const importing = (specifier: string): string => `export * from '${specifier}';\n`;
  const problems = async (file: string, text: string): Promise<string[]> =>
    (await lint(file, text)).filter((message) => message.startsWith('rooms/direction'));

  // Files that exist, in rooms of every kind.
  const config = 'src/config/load.ts';
  const io = 'src/io/source.ts';
  const kernels = 'kernels/types.ts';

  it.each([
    [config, '../cli/run.js', 'nothing may import cli'],
    [io, '../config/load.js', 'io may import only types from config'],
    [config, '../adapters/registry.js', 'config must not import adapters'],
    ['src/adapters/lora/options.ts', './config.js', 'adapter-options must not import adapters'],
    [io, '../../kernels/types.js', 'io must not import kernels'],
    [io, '../../test/support/numeric.js', 'must not import from outside'],
    [io, 'node:fs', 'runs in browsers and must not import node:fs'],
    [io, 'fs/promises', 'runs in browsers and must not import fs/promises'],
    [io, './node.js', 'which needs Node'],
    [kernels, '../src/errors.js', 'kernels must not import errors'],
    [kernels, 'zod', 'kernels may import only TensorFlow.js'],
  ])('%s must not import %s', async (file, specifier, message) => {
    const found = await problems(file, importing(specifier));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });

  it.each([
    [io, importing('../errors.js')],
    [config, importing('../adapters/options.js')],
    ['src/train/loop.ts', importing('../adapters/options.js')],
    [io, "export type { RunConfig } from '../config/schema.js';\n"],
    [kernels, importing('@tensorflow/tfjs-core')],
    ['src/cli/run.ts', "export * from 'node:fs';\nexport * from '../config/load.js';\n"],
    ['test/support/numeric.ts', "export * from 'node:fs';\nexport * from '../../src/cli/format.js';\n"],
  ])('%s may say %j', async (file, text) => {
    expect(await problems(file, text)).toEqual([]);
  });

  it('see imports in every form', async () => {
    const text = [
      "import * as a from '../cli/format.js';",
      "import type { B } from '../cli/table.js';",
      "export { createProgress } from '../cli/progress.js';",
      "export const c = async (): Promise<unknown> => import('../cli/program.js');",
      "export type D = import('../cli/run.js').ErrorOutput;",
      'export type { B };',
      'export const e = a;',
    ].join('\n');
    expect(await problems(io, text)).toHaveLength(5);
  });
});

describe('no-cycle', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-lint-'));
  const files: Record<string, string> = {
    'a.ts': "import { b } from './deep/b.js';\nexport const a = b;\n",
    'deep/b.ts': "export { c as b } from '../c.js';\n",
    'c.ts': "import type { A } from './d.js';\nexport const c: A = 1;\n",
    'd.ts': "import { a } from './a.js';\nexport type A = typeof a;\n",
    'outside.ts': "export * from './a.js';\n",
  };
  let inFolder: ESLint;

  beforeAll(async () => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    const [{ roomsPlugin }, { parser }] = await Promise.all([
      import('../scripts/eslint-rooms.js'),
      import('typescript-eslint'),
    ]);
    inFolder = new ESLint({
      cwd: folder,
      overrideConfigFile: true,
      overrideConfig: [
        {
          files: ['**/*.ts'],
          languageOptions: { parser },
          plugins: { rooms: roomsPlugin },
          rules: { 'rooms/no-cycle': 'error' },
        },
      ],
    });
  });

  it('names the whole chain, types included, for every file on it and no other', async () => {
    const results = await inFolder.lintFiles(['.']);
    const found = Object.fromEntries(
      results.map(({ filePath, messages }) => [
        filePath.slice(folder.length + 1),
        messages.map(({ message }) => message),
      ]),
    );
    expect(found).toEqual({
      'a.ts': ['import cycle: a.ts → deep/b.ts → c.ts → d.ts → a.ts'],
      'deep/b.ts': ['import cycle: deep/b.ts → c.ts → d.ts → a.ts → deep/b.ts'],
      'c.ts': ['import cycle: c.ts → d.ts → a.ts → deep/b.ts → c.ts'],
      'd.ts': ['import cycle: d.ts → a.ts → deep/b.ts → c.ts → d.ts'],
      'outside.ts': [],
    });
  });
});
