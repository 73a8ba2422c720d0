import { isRecord } from '../io/json.js';
import type { JsonObject } from './tokenizer-json.js';

/** Names under which a tokenizer's configuration gives its special tokens. */
export const SPECIAL_TOKEN_NAMES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;
export type SpecialTokenName = (typeof SPECIAL_TOKEN_NAMES)[number];
export type SpecialTokens = Partial<Record<SpecialTokenName, string>>;

/** A token given as a string or as `{content, …}`; anything else, `null` included, is no token. */
export function tokenContent(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isRecord(value) && typeof value['content'] === 'string' ? value['content'] : undefined;
}

/**
 * Special tokens by name: tokenizer_config.json first, then special_tokens_map.json. A name that the first file sets to
 * null stays unset.
 */
export function readSpecialTokens(config: JsonObject, map: JsonObject): SpecialTokens {
  const tokens: SpecialTokens = {};
  for (const name of SPECIAL_TOKEN_NAMES) {
    const content = tokenContent(config[name] === undefined ? map[name] : config[name]);
    if (content !== undefined && content !== '') tokens[name] = content;
  }
  return tokens;
}

/**
 * The configuration handed to the library: plain strings where the files may hold objects, and no cleaning up of spaces
 * unless the file asks for it (decoding has to give back what was encoded).
 */
export function libraryConfig(config: JsonObject, tokens: SpecialTokens): JsonObject {
  const additional = config['additional_special_tokens'];
  const contents = Array.isArray(additional) ? additional.map(tokenContent) : [];
  const result: JsonObject = {
    ...config,
    clean_up_tokenization_spaces: config['clean_up_tokenization_spaces'] === true,
    additional_special_tokens: contents.filter((content) => content !== undefined),
  };
  for (const name of SPECIAL_TOKEN_NAMES) {
    const content = tokens[name];
    if (content === undefined) delete result[name];
    else result[name] = content;
  }
  return result;
}

/** `eos_token_id` and the like in a model's config.json; of a list the first. */
export function configTokenId(config: JsonObject, key: string): number | undefined {
  const value = config[key];
  const id: unknown = Array.isArray(value) ? value[0] : value;
  return typeof id === 'number' && Number.isInteger(id) && id >= 0 ? id : undefined;
}
