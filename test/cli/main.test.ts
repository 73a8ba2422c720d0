import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { renderConfigReference } from '../../src/config/reference.js';

/** Runs the CLI from its sources in a process of its own, as a shell would. */
function lowrank(args: string): { status: number | null; stdout: string; stderr: string } {
  const command = `set -o pipefail; node node_modules/vite-node/vite-node.mjs src/cli/main.ts -- ${args}`;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe('lowrank', () => {
  it('prints its version and its verbs', () => {
    expect(lowrank('--version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(lowrank('--help').stdout).toContain('config-reference');
  });

  it('prints the reference of the config', () => {
    expect(lowrank('config-reference')).toEqual({ status: 0, stdout: renderConfigReference(), stderr: '' });
  });

  it('refuses an unknown verb or option with status 2 on standard error', () => {
    expect(lowrank('config-referense')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining("lowrank: unknown command 'config-referense'\n(Did you mean config-reference?)"),
    });
    expect(lowrank('config-reference --nope')).toMatchObject({ status: 2, stdout: '' });
  });

  it('ends quietly when its reader goes away', () => {
    // `true` is gone before the first byte is written.
    expect(lowrank('config-reference | true')).toEqual({ status: 141, stdout: '', stderr: '' });
  });
});
