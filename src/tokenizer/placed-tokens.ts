import type { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { isRecord } from '../io/json.js';
import { normaliseAligned, plainText } from './normal-form.js';
import { alignSection, type Places, type TokenSpelling } from './offsets.js';
import type { AddedTokenEntry, TokenizerJson } from './tokenizer-json.js';

/** Tokens of a text, and which of them covers a character. */
export interface PlacedTokens {
  readonly ids: number[];
  /** The first token that covers the character, in UTF-16 code units; undefined where none does. */
  readonly tokenAt: (character: number) => number | undefined;
  /** Characters that have been encoded: all, or fewer where more tokens than asked for were found. */
  readonly characters: number;
}

/** Characters that are encoded at a time at least. */
const PIECE = 4096;

/**
 * Encodes texts piece by piece and tells where the tokens stand. Pieces begin at added tokens, which split a text
 * before anything else does: the tokens are those of the text as one, and each character is encoded once.
 */
export class TokenPlacer {
  private readonly splitter: RegExp | undefined;
  private readonly added = new Map<string, AddedTokenEntry>();
  private readonly spelling: TokenSpelling;

  constructor(
    private readonly json: TokenizerJson,
    private readonly library: LibraryTokenizer,
    private readonly limit: { run<T>(characters: number, work: () => T): T },
  ) {
    const { normalizer } = json;
    // Those that are compared with the normalised text do not split it.
    for (const token of json.added_tokens) {
      const normalized = token['normalized'] ?? token['special'] !== true;
      if (normalizer === null || normalized !== true) this.added.set(token.content, token);
    }
    const contents = [...this.added.keys()]
      .sort((a, b) => b.length - a.length)
      .map((content) => content.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    this.splitter = contents.length === 0 ? undefined : new RegExp(contents.join('|'), 'g');
    const { model } = json;
    this.spelling = {
      byteLetters: hasType(json['pre_tokenizer'], 'ByteLevel') ? byteLetters() : undefined,
      unknownToken: typeof model['unk_token'] === 'string' ? model['unk_token'] : this.library.model?.unk_token,
      continuation:
        typeof model['continuing_subword_prefix'] === 'string' ? model['continuing_subword_prefix'] : undefined,
    };
  }

  /** @param maxTokens encode no further than needed to have more tokens than these */
  place(text: string, maxTokens = Infinity): PlacedTokens {
    const ids: number[] = [];
    const places: Places = { starts: [], ends: [] };
    let [at, followed] = [0, true];
    while (at < text.length && ids.length <= maxTokens) {
      const end = this.pieceEnd(text, at);
      const tokens = this.encodePiece(text.slice(at, end), ids);
      followed &&= this.align(text, at, end, tokens, places) && places.starts.length === ids.length;
      at = end;
    }
    const characters = at;
    if (followed) return { ids, characters, tokenAt: (character) => findToken(places, character) };
    return {
      ids,
      characters,
      tokenAt: (character) => (character < characters ? this.byPrefix(text, ids, character) : undefined),
    };
  }

  private encodePiece(piece: string, ids: number[]): string[] {
    const encoded = this.limit.run(piece.length, () => this.library.encode(piece, { add_special_tokens: false }));
    // A vocabulary without an unknown token drops what it cannot spell; the library leaves holes there.
    return (encoded.tokens as string[]).filter((_, i) => {
      const id = (encoded.ids as (number | undefined)[])[i];
      if (id !== undefined) ids.push(id);
      return id !== undefined;
    });
  }

  /** The next added token behind enough characters. One that takes white space before it must not lose this. */
  private pieceEnd(text: string, start: number): number {
    if (this.splitter === undefined || text.length - start <= PIECE) return text.length;
    this.splitter.lastIndex = start;
    for (let found = this.splitter.exec(text); found !== null; found = this.splitter.exec(text)) {
      if (found.index - start >= PIECE && this.added.get(found[0])?.['lstrip'] !== true) return found.index;
    }
    return text.length;
  }

  /** Whether the tokens of a piece could be followed through its text. */
  private align(text: string, start: number, end: number, tokens: readonly string[], places: Places): boolean {
    let [at, next, skip] = [start, 0, false];
    const section = (to: number, stripEnd: boolean): boolean => {
      let [from, until] = [at, to];
      while (skip && from < until && /\s/.test(text.charAt(from))) from++;
      while (stripEnd && until > from && /\s/.test(text.charAt(until - 1))) until--;
      if (from === until) return true;
      const aligned = normaliseAligned(
        plainText(text, from, until),
        this.json['normalizer'],
        (part) => this.library.normalizer?.(part) ?? part,
      );
      const count = aligned === undefined ? undefined : alignSection(aligned, tokens, next, this.spelling, places);
      next += count ?? 0;
      return count !== undefined;
    };
    if (this.splitter !== undefined) {
      const piece = text.slice(0, end);
      this.splitter.lastIndex = start;
      for (let found = this.splitter.exec(piece); found !== null; found = this.splitter.exec(piece)) {
        const token = this.added.get(found[0]);
        if (!section(found.index, token?.['lstrip'] === true) || tokens[next] !== found[0]) return false;
        next++;
        at = found.index + found[0].length;
        skip = token?.['rstrip'] === true;
        places.starts.push(token?.['lstrip'] === true ? spaceStart(text, found.index, start) : found.index);
        places.ends.push(skip ? spaceEnd(text, at, end) : at);
        this.splitter.lastIndex = at;
      }
    }
    return section(end, false) && next === tokens.length;
  }

  /** Where tokens cannot be followed: how many tokens the text before the character shares with the whole. */
  private byPrefix(text: string, ids: readonly number[], character: number): number {
    const { ids: before } = this.library.encode(text.slice(0, character), { add_special_tokens: false });
    let count = 0;
    while (count < before.length && before[count] === ids[count]) count++;
    return Math.min(count, ids.length - 1);
  }
}

function findToken({ starts, ends }: Places, character: number): number | undefined {
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ends[middle] as number) > character) high = middle;
    else low = middle + 1;
  }
  return low < starts.length && (starts[low] as number) <= character ? low : undefined;
}

function spaceStart(text: string, at: number, least: number): number {
  let start = at;
  while (start > least && /\s/.test(text.charAt(start - 1))) start--;
  return start;
}

function spaceEnd(text: string, at: number, most: number): number {
  let end = at;
  while (end < most && /\s/.test(text.charAt(end))) end++;
  return end;
}

function hasType(section: unknown, type: string): boolean {
  if (Array.isArray(section)) return section.some((part) => hasType(part, type));
  return isRecord(section) && (section['type'] === type || hasType(section['pretokenizers'], type));
}

/** The letters that byte-level BPE writes bytes with: printable ones stand for themselves, others begin at U+0100. */
function byteLetters(): string[] {
  let shifted = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : shifted++);
  });
}
