import { JsonNumber, orderedEntries } from '../io/json-numbers.js';
import { Environment, Interpreter, type Node, type Value } from './engine.js';
import { floatText, quotedText } from './python-text.js';

const scope = new Environment();
const maker = new Interpreter(scope);

/** A literal as a value, by way of the engine, whose value classes cannot be imported. */
function literal(type: string, value: unknown): Value {
  return maker.evaluate({ type, value } as Node, scope);
}

export const textValue = (text: string): Value => literal('StringLiteral', text);
export const nothingValue = (): Value => literal('Comment', '');

export function floatValue(value: number): Value {
  const made = literal('FloatLiteral', value);
  made.toString = () => floatText(value);
  return made;
}

/**
 * Data as a value. Numbers stay what Python's `json.loads` makes of them: 21.0 a float, integers with all their digits.
 */
export function toValue(data: unknown): Value {
  const value = new Environment().set('data', data instanceof JsonNumber ? null : data);
  return restore(data, value);
}

function restore(data: unknown, value: Value): Value {
  if (data instanceof JsonNumber)
    return data.isInteger ? literal('IntegerLiteral', BigInt(data.text)) : floatValue(Number(data.text));
  if (typeof data === 'number') return Number.isInteger(data) ? value : floatValue(data);
  if (Array.isArray(data)) {
    const items = value.value as Value[];
    data.forEach((item, i) => (items[i] = restore(item, items[i] as Value)));
  } else if (typeof data === 'object' && data !== null) {
    const entries = value.value as unknown as Map<string, Value>;
    const restored = orderedEntries(data).map(([key, item]): [string, Value] => [
      key,
      restore(item, entries.get(key) as Value),
    ]);
    entries.clear();
    for (const [key, item] of restored) entries.set(key, item);
  }
  return value;
}

/** A value as Python's `str` writes it; nothing for what is undefined. */
export function printed(value: Value): string {
  return value.type === 'StringValue'
    ? (value.value as string)
    : value.type === 'UndefinedValue'
      ? ''
      : represented(value);
}

function represented(value: Value): string {
  switch (value.type) {
    case 'StringValue':
      return quotedText(value.value as string);
    case 'BooleanValue':
      return value.value === true ? 'True' : 'False';
    case 'NullValue':
      return 'None';
    case 'UndefinedValue':
      return 'Undefined';
    case 'FloatValue':
      return floatText(value.value as number);
    case 'ArrayValue':
      return `[${(value.value as Value[]).map(represented).join(', ')}]`;
    case 'TupleValue': {
      const items = (value.value as Value[]).map(represented);
      return items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`;
    }
    case 'ObjectValue':
      return `{${[...(value.value as unknown as Map<string, Value>)].map(([key, item]) => `${quotedText(key)}: ${represented(item)}`).join(', ')}}`;
    default:
      return value.toString();
  }
}

export interface JsonOptions {
  readonly ensureAscii?: boolean;
  /** Blanks per level, or what stands for a level; null is one line. */
  readonly indent?: number | string | null;
  readonly separators?: readonly [string, string] | null;
  readonly sortKeys?: boolean;
}

/**
 * A value as Python's `json.dumps` writes it.
 * @throws Error for what is no data.
 */
export function jsonText(value: Value, options: JsonOptions = {}, margin = '\n'): string {
  const { ensureAscii = false, indent = null, separators, sortKeys = false } = options;
  const [comma, colon] = separators ?? [indent === null ? ', ' : ',', ': '];
  const inner = indent === null ? '' : margin + (typeof indent === 'number' ? ' '.repeat(Math.max(0, indent)) : indent);
  const quoted = (text: string): string =>
    ensureAscii
      ? JSON.stringify(text).replace(
          /[\u007f-\uffff]/g,
          (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
        )
      : JSON.stringify(text);
  const list = (open: string, items: readonly string[], close: string): string =>
    items.length === 0
      ? open + close
      : `${open}${inner}${items.join(comma + inner)}${indent === null ? '' : margin}${close}`;
  switch (value.type) {
    case 'StringValue':
      return quoted(value.value as string);
    case 'BooleanValue':
      return value.value === true ? 'true' : 'false';
    case 'NullValue':
    case 'UndefinedValue':
      return 'null';
    case 'IntegerValue':
      return String(value.value);
    case 'FloatValue':
      return jsonFloat(value.value as number);
    case 'ArrayValue':
    case 'TupleValue':
      return list(
        '[',
        (value.value as Value[]).map((item) => jsonText(item, options, inner)),
        ']',
      );
    case 'ObjectValue':
    case 'NamespaceValue': {
      const entries = [...(value.value as unknown as Map<string, Value>)];
      if (sortKeys) entries.sort(([a], [b]) => compareCodePoints(a, b));
      return list(
        '{',
        entries.map(([key, item]) => quoted(key) + colon + jsonText(item, options, inner)),
        '}',
      );
    }
    default:
      throw new Error(`tojson: ${value.type} is not data`);
  }
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  return Number.isFinite(value) ? floatText(value) : value < 0 ? '-Infinity' : 'Infinity';
}

function compareCodePoints(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = ((left[i] as string).codePointAt(0) as number) - ((right[i] as string).codePointAt(0) as number);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
