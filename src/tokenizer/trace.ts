import type { Value } from './engine.js';
import type { Tracer } from './interpreter.js';

/** A stretch of text, in UTF-16 code units: [start, end). */
export interface TextSpan {
  readonly start: number;
  readonly end: number;
}

/** A rendered conversation. */
export interface TracedText {
  readonly text: string;
  /**
   * What the template has written within `generation` tags, in ascending order; undefined where this cannot be
   * followed.
   */
  readonly generation: readonly TextSpan[] | undefined;
  /** By message, what its pass of the loop over the messages has written; empty where the template has no such loop. */
  readonly messages: ReadonlyMap<number, TextSpan>;
}

/** Pairs of characters from Unicode's private use area that enclose a mark. */
const FIRST = 0xe000;
const LAST = 0xf8ff;

type Kind = Parameters<Tracer['mark']>[0];
const LETTERS: Readonly<Record<Kind, string>> = {
  generation: 'g',
  'generation-end': 'h',
  message: 'm',
  'message-end': 'n',
};

/**
 * Marks within a rendered text. They are texts too, so they pass through variables, macros and filters of the template;
 * without them the text must be the one that the template renders by itself, else nothing is said about it.
 */
export class TraceMarks implements Tracer {
  private readonly open: string;
  private readonly close: string;
  private readonly places: ReadonlyMap<Value, number>;

  /** @param text the rendered text without marks: they use characters that it does not have */
  constructor(messages: Value, text: string) {
    const used = new Set(text);
    const free: string[] = [];
    for (let code = FIRST; code <= LAST && free.length < 2; code++)
      if (!used.has(String.fromCharCode(code))) free.push(String.fromCharCode(code));
    [this.open = '', this.close = ''] = free;
    const list = messages.type === 'ArrayValue' ? (messages.value as Value[]) : [];
    this.places = new Map(list.map((message, index) => [message, index]));
  }

  mark(kind: Kind, index: number): string {
    return `${this.open}${LETTERS[kind]}${index}${this.close}`;
  }

  indexOf(value: Value): number | undefined {
    return this.places.get(value);
  }

  /** Takes the marks out again. */
  read(marked: string, text: string): TracedText {
    const generation: TextSpan[] = [];
    const messages = new Map<number, TextSpan>();
    const opened: { letter: string; index: number; start: number }[] = [];
    const parts = marked.split(this.open);
    let plain = parts[0] ?? '';
    for (const part of parts.slice(1)) {
      const end = part.indexOf(this.close);
      const letter = part.charAt(0);
      const index = Number(part.slice(1, end));
      if (letter === LETTERS.generation || letter === LETTERS.message) {
        opened.push({ letter, index, start: plain.length });
      } else {
        const begin = opened.pop();
        if (begin === undefined || end < 0) return { text, generation: undefined, messages: new Map() };
        const span = { start: begin.start, end: plain.length };
        if (letter === LETTERS['generation-end']) generation.push(span);
        else if (span.end - span.start > length(messages.get(index))) messages.set(index, span);
      }
      plain += part.slice(end + 1);
    }
    if (plain !== text || opened.length > 0) return { text, generation: undefined, messages: new Map() };
    generation.sort((a, b) => a.start - b.start || a.end - b.end);
    return { text, generation, messages };
  }
}

function length(span: TextSpan | undefined): number {
  return span === undefined ? 0 : span.end - span.start;
}
