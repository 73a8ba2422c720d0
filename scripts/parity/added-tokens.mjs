// Adds tokens to a tokenizer, saves it and encodes texts with it, for added-tokens.py.
// usage: node scripts/parity/added-tokens.mjs TOKENIZER GIVEN OUTPUT
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { memoryDirectory, overlaid, readJson } from '../../dist/src/io/directory.js';
import { localDirectory } from '../../dist/src/io/node.js';
import { withAddedTokens } from '../../dist/src/tokenizer/added-tokens.js';
import { loadTokenizer } from '../../dist/src/tokenizer/tokenizer.js';

const [, , folder, given, output] = process.argv;
const { tokens, texts, normalized } = JSON.parse(readFileSync(given, 'utf8'));
const { directory, ids } = await withAddedTokens(localDirectory(folder), tokens);
const json = await readJson(directory, 'tokenizer.json');
for (const entry of json.added_tokens) if (ids.includes(entry.id)) entry.normalized = normalized;
const text = JSON.stringify(json);
const tokenizer = await loadTokenizer(overlaid(directory, memoryDirectory(folder, { 'tokenizer.json': text })));
writeFileSync(join(output, 'tokenizer.json'), text);
writeFileSync(join(output, 'encoded.json'), JSON.stringify(texts.map((one) => tokenizer.encode(one))));
