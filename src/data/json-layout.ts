import { DataError } from '../errors.js';
import { detectFormat } from './formats.js';
import { firstElement } from './json-array.js';
import { JsonStructure } from './json-structure.js';
import type { JsonRow } from './row.js';
import type { TextSource } from './text-source.js';

/** How the rows of a file that begins with an object are written, and where its rows begin. */
export type ObjectLayout =
  /** An object a line. */
  | { readonly kind: 'lines'; readonly start: number }
  /** Objects that follow each other, over any number of lines. */
  | { readonly kind: 'values'; readonly start: number }
  /** One object, the rows being the list under one of its keys. */
  | { readonly kind: 'nested'; readonly start: number };

const [COMMA, NEWLINE, OPEN_LIST, OPEN] = [0x2c, 0x0a, 0x5b, 0x7b];
const BLANK = 0x20;
/** A key that is longer is kept this far. */
const LONGEST_KEY = 256;
const MOST_KEYS = 1000;

/**
 * Settles the layout from the first object and from what follows it. An object that is alone in its file, is no row of
 * any format, and has one list of objects, is the wrapping of these.
 * @param at where the first object begins.
 * @throws DataError when an object that wraps the rows has several lists.
 */
export async function findLayout(source: TextSource, at: number): Promise<ObjectLayout> {
  const first = new ObjectScan(at);
  for await (const chunk of source.chunks(at)) if (first.feed(chunk)) break;
  const lines = { kind: 'lines', start: at } as const;
  if (first.brokenString || first.end === undefined)
    return first.secondLine === OPEN || first.brokenString ? lines : { kind: 'values', start: at };
  if (first.next !== undefined)
    return first.multiline || (first.next === OPEN && first.nextOnSameLine) ? { kind: 'values', start: at } : lines;
  const list = await wrappedList(source, first);
  if (list !== undefined) return { kind: 'nested', start: list.start };
  return first.multiline ? { kind: 'values', start: at } : lines;
}

async function wrappedList(source: TextSource, { keys, lists, multiline }: ObjectScan): Promise<List | undefined> {
  if (lists.length === 0) return undefined;
  const rows: List[] = [];
  for (const list of lists) {
    const element = await firstElement(source, list.start);
    if (element !== undefined && detectFormat(element) !== undefined) rows.push(list);
  }
  if (rows.length === 1) return rows[0];
  if (
    rows.length === 0 &&
    (detectFormat(Object.fromEntries(keys) as JsonRow) !== undefined ||
      (!multiline && /\.jsonl(?:\.\w+)?$/i.test(source.name)))
  )
    return undefined;
  if (lists.length === 1) return lists[0];
  const names = lists.map(({ key }) => JSON.stringify(key)).join(', ');
  throw new DataError(
    `${source.name}: one object with several lists of objects, ${names}: which are the rows? Write them into a file of their own`,
  );
}

interface List {
  readonly key: string;
  /** Behind its bracket. */
  readonly start: number;
}

/** Follows the structure of one object and of what comes behind it, without keeping it. */
class ObjectScan {
  /** The object's keys; lists have a list as their value, all else a text. */
  readonly keys: [string, unknown][] = [];
  readonly lists: List[] = [];
  /** Whether a line ends within the object. */
  multiline = false;
  /** A line ends within a string, which JSON forbids. */
  brokenString = false;
  /** First byte of the second line that is not blank. */
  secondLine: number | undefined;
  /** Behind the object. */
  end: number | undefined;
  /** First byte behind it that is not blank. */
  next: number | undefined;
  nextOnSameLine = true;
  private position: number;
  private readonly structure = new JsonStructure();
  /** Bytes of the key that is being read. */
  private key: number[] | undefined;
  private listAt = 0;
  private expecting: 'key' | 'value' | 'element' | undefined;

  constructor(start: number) {
    this.position = start;
  }

  /** @returns whether all is found. */
  feed(bytes: Uint8Array): boolean {
    for (const byte of bytes) {
      this.position++;
      if (this.end === undefined) this.step(byte);
      else if (byte > BLANK) {
        this.next = byte;
        return true;
      } else if (byte === NEWLINE) this.nextOnSameLine = false;
      if (this.brokenString) return true;
    }
    return false;
  }

  private step(byte: number): void {
    const { structure } = this;
    const { depth, inString } = structure;
    if (byte === NEWLINE) {
      this.multiline = true;
      this.brokenString = inString;
    }
    if (!inString && byte > BLANK) {
      if (this.multiline) this.secondLine ??= byte;
      if (this.expecting === 'element') {
        if (byte === OPEN) this.lists.push({ key: this.keys.at(-1)?.[0] ?? '', start: this.listAt });
        this.expecting = undefined;
      }
    }
    const plain = structure.step(byte);
    if (structure.inString !== inString) this.quote(depth);
    else if (inString && this.key !== undefined && this.key.length < LONGEST_KEY) this.key.push(byte);
    if (!plain) return;
    if (structure.depth > depth) this.open(byte, depth);
    else if (structure.depth < depth && structure.depth === 0) this.end = this.position;
    else if (byte === COMMA && depth === 1) this.expecting = 'key';
  }

  private open(byte: number, depth: number): void {
    if (depth === 1 && this.expecting === 'value' && byte === OPEN_LIST) {
      const last = this.keys.at(-1);
      if (last !== undefined) last[1] = [];
      this.listAt = this.position;
      this.expecting = 'element';
    } else this.expecting = depth === 0 ? 'key' : undefined;
  }

  /** A string begins or ends. */
  private quote(depth: number): void {
    if (this.structure.inString) {
      this.key = depth === 1 && this.expecting === 'key' ? [] : undefined;
      if (this.key === undefined && depth === 1) this.expecting = undefined;
    } else if (this.key !== undefined) {
      if (this.keys.length < MOST_KEYS) this.keys.push([keyText(this.key), '']);
      this.key = undefined;
      this.expecting = 'value';
    }
  }
}

function keyText(bytes: readonly number[]): string {
  const text = new TextDecoder().decode(Uint8Array.from(bytes));
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text;
  }
}
