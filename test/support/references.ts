import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'vitest';

/*
 * References that stand beside a development checkout, for tests alone. A clone on its own has none: what needs them is
 * reported as skipped, with the folder that it needs in its title, and scripts/summarize-tests.mjs counts these.
 * LOWRANK_REFERENCES names another folder; `none` runs the suite as a clone on its own does.
 */
const setting = process.env['LOWRANK_REFERENCES'] ?? '';

/** Folder of the references. Nothing is there where they are absent. */
export const SHARED =
  setting === 'none' ? resolve('test/no-references') : resolve(setting === '' ? '../shared' : setting);

/** Path of a file or folder of the references. */
export function referencePath(path: string): string {
  return join(SHARED, path);
}

/** Those of the paths below `SHARED` that are not there. */
function missingOf(needed: string | readonly string[]): string[] {
  return [needed].flat().filter((path) => !existsSync(referencePath(path)));
}

function skippedTitle(title: string, missing: readonly string[]): string {
  return `${title} (needs ${missing.map((path) => `../shared/${path}`).join(', ')})`;
}

/**
 * A suite that needs references. Where they are absent its body is not run at all (vitest runs that of
 * `describe.skipIf` to collect its tests, which fails when it reads files): one skipped test stands for it.
 */
export function describeReferences(title: string, needed: string | readonly string[], body: () => void): void {
  const missing = missingOf(needed);
  if (missing.length === 0) describe(title, body);
  else describe(skippedTitle(title, missing), () => void it.skip('is compared', () => undefined));
}

/** A test that needs references. */
export function itReferences(
  title: string,
  needed: string | readonly string[],
  body: () => void | Promise<void>,
  timeout?: number,
): void {
  const missing = missingOf(needed);
  if (missing.length === 0) it(title, body, timeout);
  else it.skip(skippedTitle(title, missing), body);
}
