/**
 * A number whose spelling JavaScript's `number` cannot keep and Python's `json` does: a float without a fraction (21.0,
 * 1e5, -0.0) or an integer that a double cannot hold.
 */
export class JsonNumber {
  /** @param text a number as JSON spells it */
  constructor(readonly text: string) {}

  /** Spelt without point and exponent: Python makes an `int` of it. */
  get isInteger(): boolean {
    return !/[.eE]/.test(this.text);
  }

  valueOf(): number {
    return Number(this.text);
  }

  toJSON(): number {
    return Number(this.text);
  }

  toString(): string {
    return this.text;
  }
}

/**
 * Keys of an object in the order of their text: JavaScript puts those that are whole numbers first. Beside the values,
 * as a key that is no text.
 */
const KEY_ORDER: unique symbol = Symbol('order of keys');

/** Entries of an object of parseJsonExactly in the order in which they were written. */
export function orderedEntries(data: object): [string, unknown][] {
  const record = data as Record<string, unknown> & { [KEY_ORDER]?: readonly string[] };
  const order = record[KEY_ORDER];
  if (order === undefined) return Object.entries(record);
  // A copy may have lost keys and got others.
  const keys = new Set([...order.filter((key) => Object.hasOwn(record, key)), ...Object.keys(record)]);
  return [...keys].map((key) => [key, record[key]]);
}

/** Strings, which are passed over but for keys, and numbers. */
const TOKENS = /"[^"\\]*(?:\\[^][^"\\]*)*"|-?\d[\d.eE+-]*/g;

/** Characters that stand for no text; one that the input does not have marks the numbers in it. */
const MARKS = Array.from({ length: 32 }, (_, i) => String.fromCharCode(0xfdd0 + i));

/**
 * JSON.parse that keeps the numbers which would change their spelling as JsonNumber, and the order of keys
 * (orderedEntries).
 * @throws SyntaxError as JSON.parse does
 */
export function parseJsonExactly(text: string): unknown {
  const value = JSON.parse(text) as unknown;
  if (!/\d[.eE]|\d{16}|\d"[ \t\r\n]*:/.test(text)) return value;
  const mark = MARKS.find(
    (char) => !text.includes(char) && !text.toLowerCase().includes(`\\u${char.charCodeAt(0).toString(16)}`),
  );
  if (mark === undefined) return value;
  let changed = false;
  const marked = text.replace(TOKENS, (token, at: number) => {
    if (token.startsWith('"')) {
      if (!NUMBER_TEXT.test(token) || !isKey(text, at + token.length)) return token;
      changed = true;
      return `"${mark}${token.slice(1)}`;
    }
    if (!losesSpelling(token)) return token;
    changed = true;
    return `"${mark}${token}"`;
  });
  return changed ? revive(JSON.parse(marked), mark) : value;
}

/** Keys that JavaScript takes for places in a list. */
const NUMBER_TEXT = /^"(?:0|[1-9]\d{0,9})"$/;

function isKey(text: string, end: number): boolean {
  let at = end;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\t' || text[at] === '\r') at++;
  return text[at] === ':';
}

/** The value of a JSON text with its numbers as they are spelled, or undefined where the text is no JSON. */
export function exactJsonOrUndefined(text: string): unknown {
  try {
    return parseJsonExactly(text);
  } catch {
    return undefined;
  }
}

function losesSpelling(token: string): boolean {
  const value = Number(token);
  return /[.eE]/.test(token)
    ? !Number.isFinite(value) || Number.isInteger(value)
    : String(value) !== token && token !== '-0';
}

function revive(value: unknown, mark: string): unknown {
  if (typeof value === 'string') return value.startsWith(mark) ? new JsonNumber(value.slice(1)) : value;
  if (Array.isArray(value)) return value.map((item) => revive(item, mark));
  if (typeof value === 'object' && value !== null) {
    const record = value as Record<string, unknown>;
    const keys = Object.keys(record);
    for (const key of keys) record[key] = revive(record[key], mark);
    if (!keys.some((key) => key.startsWith(mark))) return value;
    const own = keys.map((key) => (key.startsWith(mark) ? key.slice(1) : key));
    return Object.assign(Object.fromEntries(keys.map((key, i) => [own[i], record[key]])), { [KEY_ORDER]: own });
  }
  return value;
}

/** The value with plain numbers in place of JsonNumber. */
export function plainNumbers(value: unknown): unknown {
  if (value instanceof JsonNumber) return Number(value.text);
  if (Array.isArray(value)) return value.map(plainNumbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainNumbers(item)]));
}
