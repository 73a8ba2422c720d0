import type { PlacedTokens } from '../tokenizer/placed-tokens.js';
import type { TextSpan } from '../tokenizer/trace.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { RenderedRow } from './render.js';

/** Label of a position that takes no part in the loss. */
export const IGNORED = -100;

export interface EncodedRow {
  readonly ids: number[];
  /** `ids` where the position is learnt, −100 elsewhere; not shifted. */
  readonly labels: number[];
}

export interface EncodeRowOptions {
  readonly trainOn: 'completion' | 'all';
  /** No more tokens than one above these are needed. Default: all. */
  readonly maxLength?: number | undefined;
}

/**
 * Tokens and labels of a rendered row.
 *
 * A completion begins behind as many tokens as its prompt has by itself, as trl counts them: a token that reaches over
 * the end of the prompt belongs to the prompt. Marks of a chat template, and turns without marks, cover the tokens of
 * their first to their last character, as transformers' masks do.
 *
 * The example ends with the EOS token, or in a conversation with the token that closes the turn, inside the loss; it is
 * added where the text does not bring it, and what follows the last learnt token (a line break, a question without
 * answer) is left off. A tokenizer without such a token adds none.
 */
export function encodeRow(
  row: RenderedRow,
  tokenizer: Tokenizer,
  { trainOn, maxLength = Infinity }: EncodeRowOptions,
): EncodedRow {
  const placed = tokenizer.encodePlaced(row.text, { addSpecialTokens: !row.chat, maxTokens: maxLength });
  const { ids } = placed;
  const cut = placed.characters < row.text.length;
  const { closingId } = row;
  const stops = new Set(
    [closingId, tokenizer.eosTokenId, ...(tokenizer.modelEosIds ?? [])].filter((id) => id !== undefined),
  );
  const learnt = new Uint8Array(ids.length);
  let length = ids.length;
  if (trainOn === 'all') {
    learnt.fill(1);
  } else if (row.chat) {
    length = 0;
    for (const span of row.learnt) {
      const [start, end] =
        row.marked === true ? markedTokens(placed, span) : turnTokens(placed, span, tokenizer, stops);
      learnt.fill(1, start, end);
      length = Math.max(length, end);
    }
  } else {
    learnt.fill(1, row.completion === undefined ? 0 : promptLength(row, tokenizer));
  }
  for (const span of row.excluded ?? []) learnt.fill(0, ...markedTokens(placed, span));
  const kept = ids.slice(0, length);
  const labels = kept.map((id, i) => (learnt[i] === 1 ? id : IGNORED));
  const goesOn = length < ids.length ? textOf(tokenizer, ids.slice(length)).trim() !== '' : cut;
  if (closingId !== undefined && !(row.marked === true && goesOn) && !endsWithStop(kept, tokenizer, stops)) {
    // Marks leave the text as it is; of a turn without them the closing token follows at once.
    if (row.marked === true) for (const id of ids.slice(length)) labels[kept.push(id) - 1] = IGNORED;
    kept.push(closingId);
    labels.push(closingId);
  }
  return { ids: kept, labels };
}

/** The tokens of the first to the last character of a span: [start, end). */
function markedTokens({ ids, tokenAt }: PlacedTokens, span: TextSpan): [number, number] {
  const start = tokenAt(span.start) ?? ids.length;
  const last = tokenAt(span.end - 1);
  return [start, last === undefined ? ids.length : last + 1];
}

/** The tokens of a turn behind its header, to the token that closes it. */
function turnTokens(
  placed: PlacedTokens,
  span: TextSpan,
  tokenizer: Tokenizer,
  stops: ReadonlySet<number>,
): [number, number] {
  const { ids } = placed;
  const start = placed.tokenAt(span.start) ?? ids.length;
  const last = span.end > span.start ? placed.tokenAt(span.end - 1) : undefined;
  const end = Math.max(start, last === undefined ? (span.end > placed.characters ? ids.length : start) : last + 1);
  for (let i = end - 1; i >= start; i--) {
    const id = ids[i] as number;
    if (stops.has(id)) return [start, i + 1];
    if (!tokenizer.isSpecial(id) && textOf(tokenizer, [id]).trim() !== '') break;
  }
  for (let i = end - 1; i >= start; i--) {
    const id = ids[i] as number;
    if (tokenizer.isSpecial(id)) return [start, i + 1];
    if (textOf(tokenizer, [id]).trim() !== '') break;
  }
  // Some templates close a turn with what they write of the next message, or behind all of them.
  const next = ids[end];
  return [start, next !== undefined && stops.has(next) ? end + 1 : end];
}

/** Tokens of the prompt by itself, without an EOS that the tokenizer puts behind every text. */
function promptLength({ prompt }: RenderedRow, tokenizer: Tokenizer): number {
  const ids = tokenizer.encodeText(prompt);
  const closed =
    ids.length > 1 &&
    ids.at(-1) === tokenizer.eosTokenId &&
    tokenizer.encode(prompt, { addSpecialTokens: false }).at(-1) !== tokenizer.eosTokenId;
  return closed ? ids.length - 1 : ids.length;
}

/** Whether the last token, but for white space, ends a turn or the text. */
function endsWithStop(ids: readonly number[], tokenizer: Tokenizer, stops: ReadonlySet<number>): boolean {
  for (let i = ids.length - 1; i >= 0; i--) {
    const id = ids[i] as number;
    if (stops.has(id)) return true;
    if (tokenizer.isSpecial(id) || textOf(tokenizer, [id]).trim() !== '') return false;
  }
  return false;
}

function textOf(tokenizer: Tokenizer, ids: number[]): string {
  return tokenizer.decode(ids);
}
