/**
 * Writes the quickstart's data, byte for byte the same on every run:
 *   node scripts/quickstart-model/make-data.mjs [-o configs/quickstart]
 * train.jsonl and validation.jsonl hold the new task, retain.jsonl held-out rows of the tasks the base model knows.
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

write('train.jsonl', pairs('dialogue', 640, 'train'));
write('validation.jsonl', pairs('dialogue', 60, 'held-out'));
/** @type {const} */
const OLD_TASKS = ['story', 'sentiment', 'question'];
write('retain.jsonl', OLD_TASKS.flatMap((task) => pairs(task, 40, 'held-out').map((row) => ({ task, ...row }))));
