import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { readConfig, takesConfig, type ConfigFlags } from '../../src/cli/config-file.js';
import { createProgram } from '../../src/cli/program.js';
import { runProgram } from '../../src/cli/run.js';
import type { RunConfig } from '../../src/config/schema.js';
import { DataError, DeviceError } from '../../src/errors.js';

async function run(
  action: () => void | Promise<void>,
  ...flags: string[]
): Promise<{ status: number; message: string }> {
  const program = createProgram([(parent) => void parent.command('act').action(action)]);
  let message = '';
  const status = await runProgram(program, ['act', ...flags], (text) => {
    message += text;
  });
  return { status, message };
}

function fail(error: unknown): () => never {
  return () => {
    throw error;
  };
}

describe('runProgram', () => {
  it('returns 0 and says nothing when all went well', async () => {
    expect(await run(() => Promise.resolve())).toEqual({ status: 0, message: '' });
  });

  it('tells an expected error in one line with its exit status', async () => {
    expect(await run(fail(new DataError('rows.jsonl, row 3: no text')))).toEqual({
      status: 3,
      message: 'lowrank: rows.jsonl, row 3: no text\n',
    });
    expect((await run(() => Promise.reject(new DeviceError('lost')))).status).toBe(4);
  });

  it('tells an unexpected error with status 70 and how to see more', async () => {
    expect(await run(fail(new TypeError('x is not a function')))).toEqual({
      status: 70,
      message: 'lowrank: unexpected error: TypeError: x is not a function (--debug shows where)\n',
    });
    expect(await run(fail('text'))).toEqual({
      status: 70,
      message: 'lowrank: unexpected error: text (--debug shows where)\n',
    });
  });

  it('shows the stack and the cause with --debug only', async () => {
    const error = new DataError('outer', { cause: new Error('inner') });
    const { status, message } = await run(fail(error), '--debug');
    expect(status).toBe(3);
    expect(message).toMatch(/^lowrank: outer\nDataError: outer\n {4}at /);
    expect(message).toContain('caused by: Error: inner\n    at ');
  });
});

describe('takesConfig', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-'));
  const file = join(folder, 'run.yaml');
  writeFileSync(file, 'model: org/tiny\ndata: {train: rows.jsonl}\ntraining: {output_dir: out}\n');

  async function read(...args: string[]): Promise<{ status: number; message: string; config: RunConfig | undefined }> {
    let config: RunConfig | undefined;
    let message = '';
    const register = (program: Command): void => {
      takesConfig(program.command('show')).action(async (name: string, flags: ConfigFlags) => {
        config = await readConfig(name, flags.set);
      });
    };
    const status = await runProgram(createProgram([register]), ['show', ...args], (text) => {
      message += text;
    });
    return { status, message, config };
  }

  it('reads the file, applies --set in order and makes paths absolute', async () => {
    const { status, config } = await read(file, '--set', 'training.seed=7', '--set', 'training.output_dir=here');
    expect(status).toBe(0);
    expect(config?.training.seed).toBe(7);
    expect(config?.data.train).toBe(join(folder, 'rows.jsonl'));
    expect(config?.training.output_dir).toBe(join(process.cwd(), 'here'));
  });

  it('asks which is meant where a model without ./ reads as an id of the Hub, and is a folder beside the config', async () => {
    mkdirSync(join(folder, 'base'));
    const named = join(folder, 'named.yaml');
    writeFileSync(named, 'model: base\ndata: {train: rows.jsonl}\ntraining: {output_dir: out}\n');
    const { status, message } = await read(named);
    expect({ status, message }).toEqual({
      status: 2,
      message: `lowrank: ${named}: model: "base" reads as an id of the Hub, and beside the config there is a folder of that name: write ./base for the folder, base@main for the Hub\n`,
    });
    expect((await read(named, '--set', 'model=org/tiny')).config?.model).toBe('org/tiny');
  });

  it('names a missing file', async () => {
    const { status, message } = await read(join(folder, 'none.yaml'));
    expect(status).toBe(2);
    expect(message).toBe(
      `lowrank: cannot read the config ${join(folder, 'none.yaml')}: ENOENT: no such file or directory\n`,
    );
  });
});
