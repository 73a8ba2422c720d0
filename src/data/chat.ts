import type { ChatMessage } from '../tokenizer/chat-template.js';

/** A stretch of text, in UTF-16 code units: [start, end). */
export interface TextSpan {
  readonly start: number;
  readonly end: number;
}

export interface WrittenChat {
  readonly text: string;
  /** The assistant's turns, their closing tokens included. */
  readonly turns: readonly TextSpan[];
}

/** Writes messages with a chat template, on demand with the header of an answer after them. */
export type WriteMessages = (messages: readonly ChatMessage[], addGenerationPrompt?: boolean) => string;

/**
 * Writes a conversation out with the chat template and finds the assistant's turns in it by writing out its prefixes: a
 * turn begins where the conversation before it, with the header of the answer (`add_generation_prompt`), ends, and ends
 * where the conversation up to it ends. Where a template writes a prefix differently than the whole, or knows no such
 * header, the turn is its content and what the template closes it with.
 * @throws what `write` throws for the whole conversation.
 */
export function writeChat(messages: readonly ChatMessage[], write: WriteMessages): WrittenChat {
  const text = write(messages);
  const turns: TextSpan[] = [];
  messages.forEach((message, index) => {
    if (message.role !== 'assistant') return;
    const before = attempt(() => write(messages.slice(0, index)));
    const headed = attempt(() => write(messages.slice(0, index), true));
    const through = index === messages.length - 1 ? text : attempt(() => write(messages.slice(0, index + 1)));
    const plainStart = headed !== undefined && headed !== before && text.startsWith(headed) ? headed.length : undefined;
    const plainEnd = through !== undefined && text.startsWith(through) ? through.length : undefined;
    const found = plainStart === undefined || plainEnd === undefined ? locate(text, messages, index, write) : undefined;
    const start = plainStart ?? found?.start ?? commonLength(text, before ?? '');
    const end = plainEnd ?? found?.end ?? commonLength(text, through ?? '');
    if (start < end) turns.push({ start, end });
  });
  return { text, turns };
}

/** Stands in for a content, so that its place is unmistakable. */
const MARK = 'lowrank-content-mark';

/** Where the content of a message and its closing stand, found by writing the conversation with the content exchanged. */
function locate(text: string, messages: readonly ChatMessage[], index: number, write: WriteMessages): TextSpan | undefined {
  const marked = messages.map((message, i) => (i === index ? { ...message, content: MARK } : message));
  const [head, tail] = halves(attempt(() => write(marked)));
  if (head === undefined || tail === undefined || head.length + tail.length > text.length) return undefined;
  if (!text.startsWith(head) || !text.endsWith(tail)) return undefined;
  const end = text.length - tail.length;
  const closing = halves(attempt(() => write(marked.slice(0, index + 1))))[1] ?? '';
  return { start: head.length, end: text.startsWith(closing, end) ? end + closing.length : end };
}

function halves(text = ''): [string?, string?] {
  const at = text.indexOf(MARK);
  return at < 0 ? [] : [text.slice(0, at), text.slice(at + MARK.length)];
}

/** A template may refuse a part of a conversation that it accepts as a whole. */
function attempt(write: () => string): string | undefined {
  try {
    return write();
  } catch {
    return undefined;
  }
}

function commonLength(a: string, b: string): number {
  const limit = Math.min(a.length, b.length);
  let length = 0;
  while (length < limit && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}
