/**
 * Writes the quickstart's data, byte for byte the same on every run:
 *   node scripts/quickstart-model/make-data.mjs [-o configs/quickstart]
 * train.jsonl and validation.jsonl are of the new task, the first with a few rows of the old ones; retain.jsonl is of
 * the old tasks.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rowsOf } from './corpus.mjs';

const SEED = 20250;
const { values } = parseArgs({ options: { output: { type: 'string', short: 'o' } } });
const folder = values.output ?? fileURLToPath(new URL('../../configs/quickstart', import.meta.url));
mkdirSync(folder, { recursive: true });

/** @param {string} name @param {object[]} rows */
function write(name, rows) {
  writeFileSync(path.join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

/** @param {import('./corpus.mjs').Task} task @param {number} count @param {import('./corpus.mjs').Split} split */
function pairs(task, count, split) {
  return rowsOf(task, count, SEED, split).map(({ prompt, completion }) => ({ prompt, completion }));
}

/**
 * Rows of the old tasks: those that are measured (a question more or less moves its score by a point), and those that
 * stand among the new rows in training, so that less of the old tasks is forgotten.
 */
const OLD_TASKS = /** @type {const} */ ([
  ['story', 40, 40],
  ['sentiment', 40, 40],
  ['question', 100, 200],
]);
write('train.jsonl', [
  ...pairs('dialogue', 1600, 'train'),
  ...OLD_TASKS.flatMap(([task, , among]) => pairs(task, among, 'train')),
]);
write('validation.jsonl', pairs('dialogue', 60, 'held-out'));
write(
  'retain.jsonl',
  OLD_TASKS.flatMap(([task, count]) => pairs(task, count, 'held-out').map((row) => ({ task, ...row }))),
);
