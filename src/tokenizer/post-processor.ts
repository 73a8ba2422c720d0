import { isRecord } from '../io/json.js';
import type { SpecialTokens } from './special-tokens.js';
import type { JsonObject, TokenizerJson } from './tokenizer-json.js';

/**
 * Classes whose `add_bos_token` and `add_eos_token` decide what is put around a text; others take it from
 * tokenizer.json alone.
 */
const FLAG_CLASSES = /^(?:Code)?Llama|^Gemma|^Cohere/;

/**
 * A tokenizer.json with the post-processor that `add_bos_token` and `add_eos_token` of tokenizer_config.json ask for,
 * where the tokenizer's class goes by these: BOS unless `add_bos_token` is false, EOS if `add_eos_token` is true. A file
 * that has neither flag, and every other class (GPT-2's, Qwen's, PreTrainedTokenizerFast), keeps the post-processor of
 * tokenizer.json.
 *
 * This is how transformers 4 builds the fast classes of Llama, Code Llama, Gemma and Cohere, for whose files the flags
 * were written. transformers 5.18 reads a tokenizer.json as it is, whatever the class and the flags (tried for all of
 * these classes): beside `add_bos_token: false` and a post-processor that adds BOS it adds BOS, and lowrank does not.
 */
export function withBosFlags(json: TokenizerJson, config: JsonObject, tokens: SpecialTokens): TokenizerJson {
  const { add_bos_token: bosFlag, add_eos_token: eosFlag, tokenizer_class: name } = config;
  if (typeof bosFlag !== 'boolean' && typeof eosFlag !== 'boolean') return json;
  if (typeof name !== 'string' || !FLAG_CLASSES.test(name)) return json;
  const special = (token: string | undefined): object[] =>
    token === undefined ? [] : [{ SpecialToken: { id: token, type_id: 0 } }];
  const front = special(bosFlag === false ? undefined : tokens.bos_token);
  const back = special(eosFlag === true ? tokens.eos_token : undefined);
  const used = [
    bosFlag === false ? undefined : tokens.bos_token,
    eosFlag === true ? tokens.eos_token : undefined,
  ].filter((token) => token !== undefined);
  const sequence = (id: string, type: number): object => ({ Sequence: { id, type_id: type } });
  return {
    ...json,
    post_processor: {
      type: 'TemplateProcessing',
      single: [...front, sequence('A', 0), ...back],
      pair: [...front, sequence('A', 0), ...back, ...front, sequence('B', 1), ...back],
      special_tokens: Object.fromEntries(
        used.map((token) => [token, { id: token, ids: [idOf(json, token)], tokens: [token] }]),
      ),
    },
  };
}

function idOf(json: TokenizerJson, token: string): number | undefined {
  const { vocab } = json.model;
  return (
    json.added_tokens.find(({ content }) => content === token)?.id ??
    (isRecord(vocab) ? Number(vocab[token]) : undefined)
  );
}
