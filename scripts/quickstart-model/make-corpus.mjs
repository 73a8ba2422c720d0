/**
 * Writes the pretraining corpus, one JSON object a line:
 *   node scripts/quickstart-model/make-corpus.mjs --rows 200000 --seed 1 -o corpus.jsonl [--format text|completion]
 */
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { pretrainingRows } from './corpus.mjs';

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '200000' },
    seed: { type: 'string', default: '1' },
    format: { type: 'string', default: 'text' },
    output: { type: 'string', short: 'o' },
  },
});
const rows = Number(values.rows);
const seed = Number(values.seed);
if (
  values.output === undefined ||
  !Number.isInteger(rows) ||
  !Number.isInteger(seed) ||
  !/^(text|completion)$/.test(values.format)
) {
  console.error('usage: make-corpus.mjs --rows N --seed S -o corpus.jsonl [--format text|completion]');
  process.exit(2);
}
const file = createWriteStream(values.output);
for (const { task, prompt, completion } of pretrainingRows(rows, seed)) {
  const row = values.format === 'text' ? { text: prompt + completion, task } : { prompt, completion, task };
  if (!file.write(`${JSON.stringify(row)}\n`)) await once(file, 'drain');
}
file.end();
await once(file, 'finish');
