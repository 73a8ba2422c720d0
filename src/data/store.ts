import { IGNORED, type EncodedRow } from './encode.js';
import { iterate, type Example, type ExampleList } from './examples.js';

/** Tokens of a page at least and at most; pages grow with the store. */
const [FIRST_PAGE, LARGEST_PAGE] = [2 ** 12, 2 ** 22];
/** Numbers that are kept of each example: page, offset, length, line, source, and what is to be said of it. */
const FIELDS = 6;
const [TRUNCATED, OMITS_CALLS] = [1, 2];

interface Page {
  readonly ids: Uint16Array | Int32Array;
  /** 1 where the position is learnt. */
  readonly learnt: Uint8Array;
}

/** What is stored of a row. */
export interface StoredRow extends EncodedRow {
  readonly row: number;
  readonly source: string;
  readonly truncated: boolean;
  readonly omitsCalls?: true;
}

/**
 * Examples as plain numbers: three bytes a token (five for vocabularies of more than 65536) and 24 an example, none of
 * them on the heap of JavaScript. An example is put together when it is asked for.
 */
export class ExampleStore implements ExampleList {
  private readonly pages: Page[] = [];
  private fields = new Uint32Array(FIELDS * 64);
  private readonly sources: string[] = [];
  /** Labels that are neither their token nor −100, by example. */
  private readonly ownLabels = new Map<number, Int32Array>();
  private used = 0;
  private count = 0;
  private total = 0;

  /** @param vocabSize every id is below it. */
  constructor(private readonly vocabSize: number) {}

  get length(): number {
    return this.count;
  }

  push({ ids, labels, row, source, truncated, omitsCalls }: StoredRow): void {
    const page = this.pageFor(ids.length);
    page.ids.set(ids, this.used);
    let own = false;
    labels.forEach((label, i) => {
      if (label === IGNORED) return;
      page.learnt[this.used + i] = 1;
      own ||= label !== ids[i];
    });
    if (own) this.ownLabels.set(this.count, Int32Array.from(labels));
    if (this.sources.at(-1) !== source) this.sources.push(source);
    const at = FIELDS * this.count;
    if (at === this.fields.length) {
      const longer = new Uint32Array(2 * at);
      longer.set(this.fields);
      this.fields = longer;
    }
    this.fields.set(
      [
        this.pages.length - 1,
        this.used,
        ids.length,
        row,
        this.sources.length - 1,
        (truncated ? TRUNCATED : 0) | (omitsCalls === true ? OMITS_CALLS : 0),
      ],
      at,
    );
    this.used += ids.length;
    this.total += ids.length;
    this.count++;
  }

  at(index: number): Example | undefined {
    const i = index < 0 ? this.count + index : index;
    if (i < 0 || i >= this.count) return undefined;
    const [page = 0, offset = 0, length = 0, row = 0, source = 0, flags = 0] = this.fields.subarray(
      FIELDS * i,
      FIELDS * (i + 1),
    );
    const { ids, learnt } = this.pages[page] as Page;
    const inputIds = Int32Array.from(ids.subarray(offset, offset + length));
    const labels = this.ownLabels.get(i)?.slice() ?? inputIds.map((id, t) => (learnt[offset + t] === 1 ? id : IGNORED));
    return {
      inputIds,
      labels,
      row,
      source: this.sources[source] ?? '',
      truncated: (flags & TRUNCATED) !== 0,
      ...((flags & OMITS_CALLS) === 0 ? {} : { omitsCalls: true }),
    };
  }

  lengthAt(index: number): number {
    return this.fields[FIELDS * index + 2] as number;
  }

  [Symbol.iterator](): Iterator<Example> {
    return iterate(this.count, (i) => this.at(i));
  }

  /** The page that takes the next `length` tokens at `used`. */
  private pageFor(length: number): Page {
    const last = this.pages.at(-1);
    if (last !== undefined && this.used + length <= last.ids.length) return last;
    const size = Math.max(length, Math.min(LARGEST_PAGE, Math.max(FIRST_PAGE, this.total)));
    const page = {
      ids: this.vocabSize <= 2 ** 16 ? new Uint16Array(size) : new Int32Array(size),
      learnt: new Uint8Array(size),
    };
    this.pages.push(page);
    this.used = 0;
    return page;
  }
}
