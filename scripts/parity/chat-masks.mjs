// Compares token ids and learnt tokens of conversations with those of transformers, as chat-masks.py has written them.
// usage: npm run build && node scripts/parity/chat-masks.mjs CASES TEMPLATES TOKENIZERS
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeRow, IGNORED } from '../../dist/src/data/encode.js';
import { planRows } from '../../dist/src/data/plan.js';
import { renderRow } from '../../dist/src/data/render.js';
import { memoryDirectory } from '../../dist/src/io/directory.js';
import { parseJsonExactly } from '../../dist/src/io/json-numbers.js';
import { Random } from '../../dist/src/random.js';
import { loadTokenizer } from '../../dist/src/tokenizer/tokenizer.js';

const [, , casesFile, templates, tokenizerFolder] = process.argv;
const { transformers, tokenizers, conversations, cases } = parseJsonExactly(readFileSync(casesFile, 'utf8'));
const loaded = {};
for (const [name, { file, ...tokens }] of Object.entries(tokenizers)) {
  loaded[name] = await loadTokenizer(
    memoryDirectory(name, {
      'tokenizer.json': readFileSync(join(tokenizerFolder, name, file), 'utf8'),
      'tokenizer_config.json': JSON.stringify(tokens),
    }),
  );
}
const sources = new Map();
const outcomes = {
  same: 0,
  'refused by both': 0,
  'refused here': 0,
  'refused by transformers': 0,
  'other tokens': 0,
  'other mask': 0,
};
for (const entry of cases) {
  const { template, tokenizer, conversation } = entry;
  if (!sources.has(template)) sources.set(template, readFileSync(join(templates, template), 'utf8'));
  const row = conversations[conversation];
  const options = { chat_template: sources.get(template) };
  const rendered = renderRow(row, {
    plan: planRows(options, row, 'row'),
    options,
    tokenizer: loaded[tokenizer],
    draw: new Random(0, ''),
  });
  const outcome = judge(entry, rendered, loaded[tokenizer]);
  outcomes[outcome]++;
  if (!['same', 'refused by both'].includes(outcome))
    console.log(
      `${template}, ${tokenizer}, conversation ${conversation}: ${outcome}${rendered.problem === undefined ? '' : `: ${rendered.problem}`}`,
    );
}
console.log(`transformers ${transformers}:`, outcomes);
process.exitCode = cases.length === outcomes.same + outcomes['refused by both'] ? 0 : 1;

/** What lies behind the last learnt token may be left off, and an end that the template lacks may be added. */
function judge(entry, rendered, tokenizer) {
  if ('problem' in rendered) return entry.error === undefined ? 'refused here' : 'refused by both';
  if (entry.error !== undefined) return 'refused by transformers';
  if ('empty' in rendered) return entry.mask.includes(1) ? 'other mask' : 'same';
  const { ids, labels } = encodeRow(rendered.rendered, tokenizer, { trainOn: 'completion' });
  const length = Math.min(ids.length, entry.input_ids.length);
  if (ids.slice(0, length).join() !== entry.input_ids.slice(0, length).join()) return 'other tokens';
  const mask = entry.input_ids.map((_, i) => (i < length && labels[i] !== IGNORED ? 1 : 0));
  return mask.join() === entry.mask.join() ? 'same' : 'other mask';
}
