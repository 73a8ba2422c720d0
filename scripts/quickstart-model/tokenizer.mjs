/**
 * Trains the quickstart model's byte-level BPE vocabulary and writes it in Hugging Face layout:
 *   node scripts/quickstart-model/tokenizer.mjs [-o configs/quickstart/base] [--vocab 1536] [--rows 6000] [--seed 1]
 * Only pretraining text is counted, so that no token exists which pretraining never sees.
 * Source of the method: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016); bytes
 * are spelled as printable characters in the way GPT-2's tokenizer does.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pretrainingRows } from './corpus.mjs';

const SPECIAL = ['<|endoftext|>', '<|pad|>'];
const CONTEXT_TOKENS = 512;
/**
 * What text is cut into: contractions, words, numbers, signs, white space. A word with a capital leaves the blank
 * before it alone, so that a name has the same tokens at the head of a line and within one.
 */
const PIECES =
  // eslint-disable-next-line regexp/no-super-linear-move -- as in tokenizer.json: `\s+` takes what `\s+(?!\S)` gives back
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{Ll}+|\p{Lu}\p{Ll}*| ?\p{N}+| ?[^\s\p{L}\p{N}]+|[\p{Lt}\p{Lm}\p{Lo}]|\s+(?!\S)|\s+/gu;

/** One printable character for each byte: itself where it prints, else the next free code point from 256 on. */
export function byteCharacters() {
  const prints = (/** @type {number} */ byte) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(prints(byte) ? byte : next++));
}

/** A word with a capital that is rarer than one piece in so many is taken for a name. */
const NAME_ONE_IN = 2500;

/**
 * How often each piece occurs; a name counts once, however often it occurs: parts that many names share become tokens,
 * single names do not.
 * @param {Iterable<string>} texts @returns {Map<string, number>}
 */
function countPieces(texts) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  let all = 0;
  for (const text of texts) {
    for (const [piece] of text.matchAll(PIECES)) {
      counts.set(piece, (counts.get(piece) ?? 0) + 1);
      all++;
    }
  }
  for (const [piece, count] of counts) if (/^\p{Lu}/u.test(piece) && count * NAME_ONE_IN < all) counts.set(piece, 1);
  return counts;
}

/**
 * The most frequent neighbouring pair becomes one token, again and again; equal counts go to the pair that sorts first.
 * @param {Map<string, number>} pieces text pieces with their counts
 * @param {number} vocabSize tokens in all
 * @returns {{tokens: string[], merges: [string, string][]}}
 */
export function trainBpe(pieces, vocabSize) {
  const characters = byteCharacters();
  const encoder = new TextEncoder();
  const words = Array.from(pieces, ([piece, count]) => ({
    parts: Array.from(encoder.encode(piece), (byte) => String(characters[byte])),
    count,
  }));
  const tokens = [...SPECIAL, ...[...characters].sort()];
  /** @type {[string, string][]} */
  const merges = [];
  /** @type {Map<string, number>} */
  const pairs = new Map();
  const count = (/** @type {{parts: string[], count: number}} */ word, /** @type {1 | -1} */ sign) => {
    for (let i = 1; i < word.parts.length; i++) {
      const pair = `${word.parts[i - 1]} ${word.parts[i]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + sign * word.count);
    }
  };
  for (const word of words) count(word, 1);
  while (tokens.length < vocabSize) {
    let best = '';
    let most = 1;
    for (const [pair, times] of pairs)
      if (times > most || (times === most && pair < best)) [best, most] = [pair, times];
    if (best === '') break;
    const [left, right] = /** @type {[string, string]} */ (best.split(' '));
    merges.push([left, right]);
    tokens.push(left + right);
    for (const word of words) {
      if (!word.parts.some((part, i) => part === left && word.parts[i + 1] === right)) continue;
      count(word, -1);
      word.parts = merged(word.parts, left, right);
      count(word, 1);
    }
  }
  return { tokens, merges };
}

/** @param {string[]} parts @param {string} left @param {string} right */
function merged(parts, left, right) {
  const result = [];
  for (let i = 0; i < parts.length; i++) {
    if (parts[i] === left && parts[i + 1] === right) result.push(parts[i++] + right);
    else result.push(parts[i]);
  }
  return result;
}

/** @param {{tokens: string[], merges: [string, string][]}} bpe */
function tokenizerJson({ tokens, merges }) {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const cut = { type: 'Split', pattern: { Regex: PIECES.source }, behavior: 'Isolated', invert: false };
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [cut, byteLevel] },
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}

/** @param {Iterable<string>} texts @param {number} vocabSize @returns {Record<string, object>} file name -> content */
export function tokenizerFiles(texts, vocabSize) {
  const [end, pad] = SPECIAL;
  const flags = { lstrip: false, normalized: false, rstrip: false, single_word: false, special: true };
  return {
    'tokenizer.json': tokenizerJson(trainBpe(countPieces(texts), vocabSize)),
    'tokenizer_config.json': {
      add_bos_token: false,
      add_prefix_space: false,
      added_tokens_decoder: Object.fromEntries(SPECIAL.map((content, id) => [id, { content, ...flags }])),
      bos_token: end,
      clean_up_tokenization_spaces: false,
      eos_token: end,
      model_max_length: CONTEXT_TOKENS,
      pad_token: pad,
      tokenizer_class: 'PreTrainedTokenizerFast',
    },
    'special_tokens_map.json': { bos_token: end, eos_token: end, pad_token: pad },
    'generation_config.json': {
      bos_token_id: 0,
      do_sample: false,
      eos_token_id: 0,
      max_new_tokens: 64,
      pad_token_id: 1,
    },
  };
}

function* texts(/** @type {number} */ rows, /** @type {number} */ seed) {
  for (const { prompt, completion } of pretrainingRows(rows, seed)) yield prompt + completion;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      output: { type: 'string', short: 'o' },
      vocab: { type: 'string', default: '1536' },
      rows: { type: 'string', default: '6000' },
      seed: { type: 'string', default: '1' },
    },
  });
  const folder = values.output ?? fileURLToPath(new URL('../../configs/quickstart/base', import.meta.url));
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(
    tokenizerFiles(texts(Number(values.rows), Number(values.seed)), Number(values.vocab)),
  )) {
    writeFileSync(
      path.join(folder, name),
      `${JSON.stringify(content, null, name === 'tokenizer.json' ? undefined : 2)}\n`,
    );
  }
}
