import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../src/config/load.js';

const readme = readFileSync(resolve('README.md'), 'utf8');

function block(language: string, start: string): string {
  const blocks = [...readme.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    (match) => match[1] as string,
  );
  const found = blocks.find((text) => text.includes(start));
  if (found === undefined) throw new Error(`README.md has no ${language} block with ${start}`);
  return found;
}

describe('README.md', () => {
  it('has a config that is valid', () => {
    const config = loadConfig(block('yaml', 'summaries.yaml'), 'summaries.yaml');
    expect(config.quantization.load_in_4bit).toBe(true);
    expect(config.adapter.r).toBe(16);
  });

  // Imports the package by its own name, so what is run is the build.
  it.skipIf(!existsSync(resolve('dist/src/index.js')))('has a program that runs', () => {
    const { outputText } = ts.transpileModule(block('ts', "from 'lowrank'"), {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', outputText], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(output).toMatch(/^5 steps, loss [\d.]+; files: adapter_config\.json,adapter_model\.safetensors/);
    expect(output.split('\n')[1]?.length, output).toBeGreaterThan(20);
  });
});
