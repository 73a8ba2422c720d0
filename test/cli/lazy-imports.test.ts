import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundleLowrank } from '../support/cli.js';

let lowrank: Awaited<ReturnType<typeof bundleLowrank>>;
beforeAll(async () => {
  lowrank = await bundleLowrank();
}, 60_000);
afterAll(() => lowrank.remove());

/** A module that writes the address of each module that is resolved to standard error. */
const asUrl = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;
const HOOK = `import { writeSync } from 'node:fs';
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  writeSync(2, 'resolved ' + found.url + '\\n');
  return found;
}`;
const REGISTER = `import { register } from 'node:module'; register(${JSON.stringify(asUrl(HOOK))});`;

it.each([
  [['--version'], 0],
  [['plan', '--help'], 0],
  [['train', 'nope.yaml'], 1],
  [['data', 'nope.yaml'], 1],
  [['inspect', './nope'], 1],
] as const)('%j loads no TensorFlow.js', { timeout: 60_000 }, (args, status) => {
  const child = spawnSync(process.execPath, ['--import', asUrl(REGISTER), lowrank.main, ...args], { encoding: 'utf8' });
  expect(child.status === 0, child.stderr).toBe(status === 0);
  const resolved = child.stderr.split('\n').filter((line) => line.startsWith('resolved '));
  expect(resolved.some((url) => url.includes('/commander/'))).toBe(true);
  expect(resolved.filter((url) => url.includes('/@tensorflow/'))).toEqual([]);
});
