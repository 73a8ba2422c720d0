// Adds tokens to a tokenizer, saves it and encodes texts with it, for added-tokens.py.
// usage: node scripts/parity/added-tokens.mjs TOKENIZER GIVEN OUTPUT
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from '../../dist/src/io/directory.js';
import { localDirectory } from '../../dist/src/io/node.js';
import { withAddedTokens } from '../../dist/src/tokenizer/added-tokens.js';
import { loadTokenizer } from '../../dist/src/tokenizer/tokenizer.js';

const [, , folder, given, output] = process.argv;
const { tokens, texts } = JSON.parse(readFileSync(given, 'utf8'));
const { directory } = await withAddedTokens(localDirectory(folder), tokens);
const tokenizer = await loadTokenizer(directory);
writeFileSync(join(output, 'tokenizer.json'), JSON.stringify(await readJson(directory, 'tokenizer.json')));
writeFileSync(join(output, 'encoded.json'), JSON.stringify(texts.map((text) => tokenizer.encode(text))));
