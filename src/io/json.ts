import { FormatError } from '../errors.js';

const SPACE = /[ \t\n\r]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const SCALAR = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * How deep lists and objects may be nested. JSON.parse takes any depth, but what walks its values (checks, templates,
 * JSON.stringify) calls itself, and a few thousand levels exhaust the stack. Python's reader stops at about 1000; no
 * real file comes near 100.
 */
export const MAX_JSON_DEPTH = 512;

/**
 * JSON.parse whose error names the file, line and column.
 * @throws FormatError for text that is no JSON, or is nested deeper than {@link MAX_JSON_DEPTH}.
 */
export function parseJson(text: string, name: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const offset = scanJson(text).errorOffset ?? text.length;
    const before = text.slice(0, offset);
    const line = before.split('\n').length;
    const column = offset - before.lastIndexOf('\n');
    const found = offset >= text.length ? 'the file ends' : `found ${JSON.stringify(text.slice(offset, offset + 12))}`;
    throw new FormatError(`${name}:${line}:${column}: not JSON: ${found} where something else must stand`);
  }
  if (jsonDepth(text) > MAX_JSON_DEPTH) throw new FormatError(`${name}: ${tooDeep()}`);
  return value;
}

/** What is wrong with JSON that is nested too deep. */
export function tooDeep(): string {
  return `lists and objects are nested more than ${MAX_JSON_DEPTH} deep`;
}

/**
 * How deep lists and objects of a text that is JSON are nested; counted only where the text is long enough to pass the
 * limit.
 */
export function jsonDepth(text: string): number {
  if (text.length <= MAX_JSON_DEPTH) return 0;
  let [depth, deepest] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      for (at++; text.charCodeAt(at) !== 0x22; at++) if (text.charCodeAt(at) === 0x5c) at++;
    } else if (code === 0x7b || code === 0x5b) {
      if (++depth > deepest) deepest = depth;
    } else if (code === 0x7d || code === 0x5d) {
      depth--;
    }
  }
  return deepest;
}

/** Keys that occur twice in one object, which JSON.parse drops in silence. */
export function duplicateKeys(text: string): string[] {
  return scanJson(text).duplicates;
}

/** UTF-8 to text; a byte order mark is dropped. @throws FormatError on bytes that are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new FormatError(`${name}: not UTF-8 text`);
  }
}

/** A plain object, not null and not an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface Scan {
  readonly errorOffset?: number;
  readonly duplicates: string[];
}

/** Walks the text once without a call stack, so that nesting cannot exhaust it. */
function scanJson(text: string): Scan {
  const duplicates: string[] = [];
  const open: (Set<string> | null)[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  /**
   * A string with its quotes. A loop, not an expression: it must stay linear, and long strings must not fill the stack
   * of a matcher.
   */
  const takeString = (): string | undefined => {
    const start = at;
    if (text[at] !== '"') return undefined;
    for (at++; at < text.length;) {
      const code = text.charCodeAt(at);
      if (code === 0x22) return text.slice(start, ++at);
      if (code < 0x20) return undefined;
      if (code !== 0x5c) at++;
      else if (take(ESCAPE) === undefined) return undefined;
    }
    return undefined;
  };
  const takeChar = (char: string): boolean => {
    take(SPACE);
    if (text[at] !== char) return false;
    at++;
    return true;
  };
  const takeKey = (keys: Set<string>): boolean => {
    take(SPACE);
    const literal = takeString();
    if (literal === undefined) return false;
    const key = JSON.parse(literal) as string;
    if (keys.has(key)) duplicates.push(key);
    keys.add(key);
    return takeChar(':');
  };
  for (;;) {
    take(SPACE);
    if (takeChar('{')) {
      const keys = new Set<string>();
      if (!takeChar('}')) {
        open.push(keys);
        if (!takeKey(keys)) return { errorOffset: at, duplicates };
        continue;
      }
    } else if (takeChar('[')) {
      if (!takeChar(']')) {
        open.push(null);
        continue;
      }
    } else if (text[at] === '"' ? takeString() === undefined : take(SCALAR) === undefined) {
      return { errorOffset: at, duplicates };
    }
    for (;;) {
      const keys = open.at(-1);
      if (keys === undefined) {
        take(SPACE);
        return at < text.length ? { errorOffset: at, duplicates } : { duplicates };
      }
      if (takeChar(',')) {
        if (keys !== null && !takeKey(keys)) return { errorOffset: at, duplicates };
        break;
      }
      if (!takeChar(keys === null ? ']' : '}')) return { errorOffset: at, duplicates };
      open.pop();
    }
  }
}
