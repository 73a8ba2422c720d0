import { FormatError } from '../errors.js';

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SCALAR = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * JSON.parse whose error names the file, line and column.
 * @throws FormatError
 */
export function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    const offset = scanJson(text).errorOffset ?? text.length;
    const before = text.slice(0, offset);
    const line = before.split('\n').length;
    const column = offset - before.lastIndexOf('\n');
    const found = offset >= text.length ? 'the file ends' : `found ${JSON.stringify(text.slice(offset, offset + 12))}`;
    throw new FormatError(`${name}:${line}:${column}: not JSON: ${found} where something else must stand`);
  }
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
  const takeChar = (char: string): boolean => {
    take(SPACE);
    if (text[at] !== char) return false;
    at++;
    return true;
  };
  const takeKey = (keys: Set<string>): boolean => {
    take(SPACE);
    const literal = take(STRING);
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
    } else if (take(STRING) === undefined && take(SCALAR) === undefined) {
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
