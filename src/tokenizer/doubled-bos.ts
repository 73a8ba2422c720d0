import type { Tokenizer } from './tokenizer.js';

const seen = new WeakMap<object, 'seen' | 'told'>();

/** Remembers that a text began with the BOS token that its tokenizer would have put before it. */
export function noticeBos(text: string, tokenizer: Tokenizer): void {
  if (!seen.has(tokenizer) && tokenizer.bringsBos(text)) seen.set(tokenizer, 'seen');
}

/** What to say of such texts, the first time that it is asked for. */
export function takeBosNote(tokenizer: Tokenizer | undefined): string | undefined {
  if (tokenizer === undefined || seen.get(tokenizer) !== 'seen') return undefined;
  seen.set(tokenizer, 'told');
  const bos = tokenizer.bosTokenId === undefined ? '' : ` ${tokenizer.idToToken(tokenizer.bosTokenId) ?? ''}`;
  return `note: texts begin with the BOS token${bos}, which the tokenizer adds too; they get one, not two`;
}
