import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { RenderedRow } from './render.js';

/** Label of a position that takes no part in the loss. */
export const IGNORED = -100;

export interface EncodedRow {
  readonly ids: number[];
  /** `ids` where the position is learnt, −100 elsewhere; not shifted. */
  readonly labels: number[];
}

/**
 * Tokens and labels of a rendered row.
 *
 * A boundary between prompt and completion is placed by tokenising the text before it: it lies after the longest common
 * beginning of those tokens and the tokens of the whole. A token that reaches over the start of a completion
 * (a prompt ending in a space, merges across words) is therefore learnt, one that reaches over the end of an answer is not.
 *
 * The example ends with the EOS token, or in a conversation with the token that closes the turn, inside the loss; it is
 * added where the text does not bring it, and what follows the last learnt turn (a line break, a question without
 * answer) is left off. A tokenizer without such a token adds none.
 */
export function encodeRow(row: RenderedRow, tokenizer: Tokenizer, trainOn: 'completion' | 'all'): EncodedRow {
  const encode = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: !row.chat });
  const ids = encode(row.text);
  const { closingId } = row;
  const stops = new Set([closingId, tokenizer.eosTokenId].filter((id) => id !== undefined));
  const learnt = new Uint8Array(ids.length);
  let length = ids.length;
  if (trainOn === 'all') {
    learnt.fill(1);
    const afterStop = ids.findLastIndex((id) => stops.has(id)) + 1;
    if (row.chat && afterStop > 0 && tokenizer.decode(ids.slice(afterStop)).trim() === '') length = afterStop;
  } else {
    let end = 0;
    for (const span of row.learnt) {
      const start = Math.max(end, boundary(encode, ids, row.text, span.start));
      end = Math.max(start, boundary(encode, ids, row.text, span.end));
      if (row.chat) end = afterLastStop(ids, start, end, stops);
      learnt.fill(1, start, end);
    }
    if (row.chat) length = end;
  }
  const kept = ids.slice(0, length);
  const labels = kept.map((id, i) => (learnt[i] === 1 ? id : IGNORED));
  const lastId = kept.at(-1);
  if (closingId !== undefined && (lastId === undefined || !stops.has(lastId))) {
    kept.push(closingId);
    labels.push(closingId);
  }
  return { ids: kept, labels };
}

/** Number of tokens of `ids` that lie before the character `at`. */
function boundary(encode: (text: string) => number[], ids: readonly number[], text: string, at: number): number {
  if (at <= 0) return 0;
  if (at >= text.length) return ids.length;
  const prefix = encode(text.slice(0, at));
  const limit = Math.min(prefix.length, ids.length);
  let count = 0;
  while (count < limit && prefix[count] === ids[count]) count++;
  return count;
}

/** End of a turn without what its template writes after the closing token. */
function afterLastStop(ids: readonly number[], start: number, end: number, stops: ReadonlySet<number>): number {
  for (let i = end - 1; i >= start; i--) if (stops.has(ids[i] as number)) return i + 1;
  return end;
}
