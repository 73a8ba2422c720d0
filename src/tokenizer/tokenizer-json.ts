import { FormatError } from '../errors.js';
import { isRecord } from '../io/json.js';

export type JsonObject = Record<string, unknown>;

/** An entry of `added_tokens`. */
export interface AddedTokenEntry extends JsonObject {
  id: number;
  content: string;
}

/**
 * A tokenizer.json that has been checked and brought to the form the JavaScript library reads as the native one would.
 */
export interface TokenizerJson extends JsonObject {
  model: JsonObject;
  added_tokens: AddedTokenEntry[];
}

/** Sections that old files leave out; the library wants them present. */
const OPTIONAL_SECTIONS = ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder'] as const;

/**
 * Checks a parsed tokenizer.json and evens out what the library reads differently from the native implementation:
 * absent sections become null, tokens that only tokenizer_config.json's `added_tokens_decoder` knows are added, and the
 * `Digits` pre-tokenizer is spelled as a `Split` on every numeric character (`\p{N}`; the library's own `Digits` takes
 * decimal digits only, the native one also ½ and ²).
 * @throws FormatError naming the file and the field.
 */
export function normaliseTokenizerJson(json: unknown, file: string, config: JsonObject): TokenizerJson {
  if (!isRecord(json)) throw new FormatError(`${file}: expected an object`);
  const { model } = json;
  if (!isRecord(model)) throw new FormatError(`${file}: field "model" is missing or not an object`);
  checkVocabulary(model, file);
  const result: JsonObject = { ...json };
  for (const section of OPTIONAL_SECTIONS) {
    const value = json[section] ?? null;
    if (value !== null && !isRecord(value))
      throw new FormatError(`${file}: field "${section}" is neither an object nor null`);
    result[section] = value;
  }
  result['pre_tokenizer'] = rewritePreTokenizer(result['pre_tokenizer'], file);
  const added = readAddedTokens(json['added_tokens'], file);
  return { ...result, model, added_tokens: withConfigTokens(added, config) };
}

/** Largest id plus one, over the model's vocabulary and the added tokens. */
export function countVocabulary(json: TokenizerJson): number {
  const { vocab } = json.model;
  let size = Array.isArray(vocab) ? vocab.length : 0;
  if (isRecord(vocab)) for (const id of Object.values(vocab)) size = Math.max(size, Number(id) + 1);
  for (const token of json.added_tokens) size = Math.max(size, token.id + 1);
  return size;
}

function checkVocabulary(model: JsonObject, file: string): void {
  const { vocab } = model;
  if (Array.isArray(vocab)) return;
  if (!isRecord(vocab)) throw new FormatError(`${file}: field "model.vocab" is missing or not an object`);
  for (const [token, id] of Object.entries(vocab)) {
    if (!isTokenId(id))
      throw new FormatError(`${file}: model.vocab[${JSON.stringify(token)}] is ${JSON.stringify(id)}, not a token id`);
  }
  if (model['type'] === 'BPE' && !Array.isArray(model['merges'])) {
    throw new FormatError(`${file}: field "model.merges" is missing or not a list`);
  }
  const merges: unknown = model['merges'];
  const wrong = Array.isArray(merges)
    ? (merges as unknown[]).findIndex(
        (merge) =>
          typeof merge !== 'string' &&
          !(Array.isArray(merge) && merge.length === 2 && merge.every((side) => typeof side === 'string')),
      )
    : -1;
  if (wrong >= 0)
    throw new FormatError(
      `${file}: model.merges[${wrong}] is ${(JSON.stringify((merges as unknown[])[wrong]) ?? 'nothing').slice(0, 60)}, neither a text nor a pair of texts`,
    );
}

function readAddedTokens(value: unknown, file: string): AddedTokenEntry[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new FormatError(`${file}: field "added_tokens" is not a list`);
  return value.map((entry: unknown, index) => {
    if (
      !isRecord(entry) ||
      !isTokenId(entry['id']) ||
      typeof entry['content'] !== 'string' ||
      entry['content'] === ''
    ) {
      throw new FormatError(`${file}: added_tokens[${index}] needs an integer "id" and a non-empty "content"`);
    }
    return { ...entry, id: entry['id'], content: entry['content'] };
  });
}

function withConfigTokens(added: AddedTokenEntry[], config: JsonObject): AddedTokenEntry[] {
  const decoder = config['added_tokens_decoder'];
  if (!isRecord(decoder)) return added;
  const known = new Set(added.map((token) => token.id));
  const extra: AddedTokenEntry[] = [];
  for (const [key, entry] of Object.entries(decoder)) {
    const id = Number(key);
    if (
      !isTokenId(id) ||
      known.has(id) ||
      !isRecord(entry) ||
      typeof entry['content'] !== 'string' ||
      entry['content'] === ''
    )
      continue;
    extra.push({ ...entry, id, content: entry['content'] });
  }
  return [...added, ...extra];
}

function rewritePreTokenizer(value: unknown, file: string): unknown {
  if (!isRecord(value)) return value;
  if (value['type'] === 'Digits') {
    const pattern = value['individual_digits'] === true ? '\\p{N}' : '\\p{N}+';
    return { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  }
  if (value['type'] === 'Sequence') {
    const parts = value['pretokenizers'];
    if (!Array.isArray(parts)) throw new FormatError(`${file}: field "pre_tokenizer.pretokenizers" is not a list`);
    return { ...value, pretokenizers: parts.map((part: unknown) => rewritePreTokenizer(part, file)) };
  }
  return value;
}

/**
 * Ids beyond this would only make the library allocate a huge sparse array; the largest vocabularies have 2^18 entries.
 */
const MAX_TOKEN_ID = 2 ** 24;

function isTokenId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < MAX_TOKEN_ID;
}
