import { ConfigError } from '../errors.js';
import { noticeBos } from '../tokenizer/doubled-bos.js';
import type { ChatMessage } from '../tokenizer/chat-template.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';

/** What a model is asked to continue. */
export type Prompt = { readonly text: string } | ChatPrompt | { readonly tokens: readonly number[] };

/**
 * A conversation, and what its chat template is given besides: tools, also as a JSON text, and variables of its own.
 */
export interface ChatPrompt {
  readonly messages: readonly ChatMessage[];
  readonly tools?: unknown;
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>>;
}

/**
 * A prompt as token ids: text with the special tokens that the tokenizer puts in front of it, messages written out by
 * the chat template with the header of an answer, ids as they are.
 * @throws ConfigError when text or messages are given and there is no tokenizer, or messages and no chat template.
 */
export function encodePrompt(prompt: Prompt, tokenizer: Tokenizer | undefined): number[] {
  if ('tokens' in prompt) return [...prompt.tokens];
  if (tokenizer === undefined)
    throw new ConfigError('this model has no tokenizer.json: the prompt must be given as token ids');
  if ('messages' in prompt) {
    const { messages, tools, chat_template_kwargs: kwargs } = prompt;
    const variables = { ...kwargs, ...(tools === undefined ? {} : { tools }) };
    return tokenizer.encode(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: true, variables }), {
      addSpecialTokens: false,
    });
  }
  noticeBos(prompt.text, tokenizer);
  const ids = tokenizer.encodeText(prompt.text);
  // Some tokenizers close every text; there would be nothing to continue.
  return ids.length > 1 && ids.at(-1) === tokenizer.eosTokenId ? ids.slice(0, -1) : ids;
}

/**
 * What stands in front of an empty prompt, so that something predicts its first token: BOS, or else the EOS that ends
 * the text before. Nothing where the tokenizer has neither.
 */
export function textStart({ bosTokenId, eosTokenId }: Pick<Tokenizer, 'bosTokenId' | 'eosTokenId'>): number[] {
  const id = bosTokenId ?? eosTokenId;
  return id === undefined ? [] : [id];
}

/** The last `room` tokens of a prompt that is longer; a BOS token at its begin stays there. */
export function cutPrompt(
  ids: readonly number[],
  room: number,
  { bosTokenId: bos }: Pick<Tokenizer, 'bosTokenId'>,
): number[] {
  if (ids.length <= room) return [...ids];
  return bos !== undefined && ids[0] === bos && room > 1 ? [bos, ...ids.slice(1 - room)] : ids.slice(-room);
}

/**
 * Ids at which an answer ends: the model's end of text, the tokenizer's, and what closes a turn of its chat template.
 */
export function stopTokensOf(eosTokenIds: readonly number[], tokenizer: Tokenizer | undefined): number[] {
  const ids = [...eosTokenIds, tokenizer?.eosTokenId, tokenizer?.endOfTurnId];
  return [...new Set(ids.filter((id) => id !== undefined))];
}
