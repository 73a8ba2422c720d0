import type { AlignedText } from './normal-form.js';

/** What a tokenizer writes into its tokens that the text does not have. */
export interface TokenSpelling {
  /** Letters that stand for bytes, by byte; undefined where tokens are written in characters. */
  readonly byteLetters: readonly string[] | undefined;
  readonly unknownToken: string | undefined;
  /** In front of a token that continues a word (WordPiece). */
  readonly continuation: string | undefined;
}

/** Characters of a text that tokens cover: [start, end) each, in UTF-16 code units. */
export interface Places {
  readonly starts: number[];
  readonly ends: number[];
}

const SPACE_MARK = '▁';
const BYTE_TOKEN = /^<0x([0-9A-F]{2})>$/;
const encoder = new TextEncoder();

/**
 * Aligns the tokens of a section of text (nothing in it is an added token) with its characters, as the offsets of the
 * native library: tokens that share a character, as bytes of it, all cover it; what the tokenizer puts in front of the
 * section covers its first one.
 * @param first where the section's tokens begin in `tokens`
 * @returns the number of tokens that are of this section, or undefined where they cannot be followed
 */
export function alignSection(
  section: AlignedText,
  tokens: readonly string[],
  first: number,
  spelling: TokenSpelling,
  places: Places,
): number | undefined {
  const walk = spelling.byteLetters === undefined ? alignCharacters : alignBytes;
  return walk(section, tokens, first, spelling, places);
}

function alignBytes(
  { text, from, to }: AlignedText,
  tokens: readonly string[],
  first: number,
  { byteLetters = [] }: TokenSpelling,
  places: Places,
): number | undefined {
  let expected = '';
  const unitOf: number[] = [];
  for (let at = 0; at < text.length;) {
    const char = String.fromCodePoint(text.codePointAt(at) as number);
    for (const byte of encoder.encode(char)) {
      expected += byteLetters[byte] as string;
      unitOf.push(at);
    }
    at += char.length;
  }
  const space = byteLetters[0x20] as string;
  if (!expected.startsWith(space) && tokens[first]?.startsWith(space) === true) {
    expected = space + expected;
    unitOf.unshift(0);
  }
  let [at, count] = [0, 0];
  while (at < expected.length) {
    const token = tokens[first + count];
    if (token === undefined || !expected.startsWith(token, at)) return undefined;
    const last = unitOf[at + token.length - 1] as number;
    places.starts.push(from[unitOf[at] as number] as number);
    places.ends.push(to[lastUnit(text, last)] as number);
    at += token.length;
    count++;
  }
  return count;
}

function alignCharacters(
  { text, from, to }: AlignedText,
  tokens: readonly string[],
  first: number,
  spelling: TokenSpelling,
  places: Places,
): number | undefined {
  let [at, count, byte] = [0, 0, 0];
  const put = (start: number, end: number): void => {
    places.starts.push(from[start] as number);
    places.ends.push(to[Math.max(start, end - 1)] as number);
    count++;
  };
  while (at < text.length) {
    const token = tokens[first + count];
    if (token === undefined) break;
    const hex = BYTE_TOKEN.exec(token)?.[1];
    if (hex !== undefined) {
      const char = String.fromCodePoint(text.codePointAt(at) as number);
      const bytes = encoder.encode(char);
      if (bytes[byte] === Number.parseInt(hex, 16)) {
        put(at, at + char.length);
        if (++byte === bytes.length) [at, byte] = [at + char.length, 0];
        continue;
      }
    }
    if (byte > 0) return undefined;
    const end = matchEnd(text, at, token, spelling.continuation, count === 0);
    if (end !== undefined) {
      put(at, end);
      at = end;
    } else if (token === spelling.unknownToken) {
      const next = unknownEnd(text, at, tokens[first + count + 1], spelling);
      put(at, next);
      at = next;
    } else if (/\s/.test(text.charAt(at))) {
      at++;
    } else {
      return undefined;
    }
  }
  return byte > 0 || text.slice(at).trim() !== '' ? undefined : count;
}

/**
 * Where a token ends that begins at a place of the text; the first of a section may have a space mark in front that the
 * text has not.
 */
function matchEnd(
  text: string,
  at: number,
  token: string,
  continuation: string | undefined,
  isFirst: boolean,
): number | undefined {
  const plain = matches(text, at, token);
  if (plain !== undefined) return plain;
  if (isFirst && token.startsWith(SPACE_MARK)) return token.length === 1 ? at : matches(text, at, token.slice(1));
  if (continuation !== undefined && continuation !== '' && token.startsWith(continuation))
    return matches(text, at, token.slice(continuation.length));
  return undefined;
}

function matches(text: string, at: number, token: string): number | undefined {
  if (text.startsWith(token, at)) return at + token.length;
  for (let i = 0; i < token.length; i++) {
    const [want, have] = [token[i], text[at + i]];
    if (want !== have && !(want === SPACE_MARK && have === ' ')) return undefined;
  }
  return at + token.length;
}

/** Unknown characters up to where the next token begins: one where this does not say. */
function unknownEnd(
  text: string,
  at: number,
  next: string | undefined,
  { unknownToken, continuation }: TokenSpelling,
): number {
  const one = at + String.fromCodePoint(text.codePointAt(at) as number).length;
  if (next === unknownToken) return one;
  for (let end = one; end <= text.length; end++) {
    if (end === text.length || (next !== undefined && matchEnd(text, end, next, continuation, false) !== undefined))
      return end;
  }
  return one;
}

/** The last code unit of the character that begins here. */
function lastUnit(text: string, at: number): number {
  return at + String.fromCodePoint(text.codePointAt(at) as number).length - 1;
}
