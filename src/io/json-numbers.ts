/**
 * A number whose spelling JavaScript's `number` cannot keep and Python's `json` does: a float without a fraction (21.0, 1e5, -0.0)
 * or an integer that a double cannot hold.
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

/** Strings, which are passed over, and numbers. */
const TOKENS = /"[^"\\]*(?:\\[^][^"\\]*)*"|-?\d[\d.eE+-]*/g;

/** Characters that stand for no text; one that the input does not have marks the numbers in it. */
const MARKS = Array.from({ length: 32 }, (_, i) => String.fromCharCode(0xfdd0 + i));

/**
 * JSON.parse that keeps the numbers which would change their spelling as JsonNumber.
 * @throws SyntaxError as JSON.parse does
 */
export function parseJsonExactly(text: string): unknown {
  const value = JSON.parse(text) as unknown;
  if (!/\d[.eE]|\d{16}/.test(text)) return value;
  const mark = MARKS.find((char) => !text.includes(char) && !text.toLowerCase().includes(`\\u${char.charCodeAt(0).toString(16)}`));
  if (mark === undefined) return value;
  let changed = false;
  const marked = text.replace(TOKENS, (token) => {
    if (token.startsWith('"') || !losesSpelling(token)) return token;
    changed = true;
    return `"${mark}${token}"`;
  });
  return changed ? revive(JSON.parse(marked), mark) : value;
}

function losesSpelling(token: string): boolean {
  const value = Number(token);
  return /[.eE]/.test(token) ? !Number.isFinite(value) || Number.isInteger(value) : String(value) !== token && token !== '-0';
}

function revive(value: unknown, mark: string): unknown {
  if (typeof value === 'string') return value.startsWith(mark) ? new JsonNumber(value.slice(1)) : value;
  if (Array.isArray(value)) return value.map((item) => revive(item, mark));
  if (typeof value === 'object' && value !== null) {
    const record = value as Record<string, unknown>;
    for (const key of Object.keys(record)) record[key] = revive(record[key], mark);
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
