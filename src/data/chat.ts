import type { ChatMessage } from '../tokenizer/chat-template.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { DataOptions } from './options.js';

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

/**
 * Writes a conversation out with the chat template and finds the assistant's turns in it by writing out its prefixes: a
 * turn begins where the conversation before it, with the header of the answer (`add_generation_prompt`), ends, and ends
 * where the conversation up to it ends. Where a template writes a prefix differently than the whole, the longest
 * common beginning counts; where it knows no such header, the turn begins with its content.
 * @throws ConfigError without a template; DataError when the template refuses the conversation.
 */
export function writeChat(tokenizer: Tokenizer, messages: readonly ChatMessage[], tools: unknown, options: DataOptions): WrittenChat {
  const variables = { ...(tools === undefined ? {} : { tools }), ...options.chat_template_kwargs };
  const write = (count: number, addGenerationPrompt: boolean): string =>
    tokenizer.applyChatTemplate(messages.slice(0, count), { addGenerationPrompt, template: options.chat_template, variables });
  const text = write(messages.length, false);
  const turns: TextSpan[] = [];
  messages.forEach((message, index) => {
    if (message.role !== 'assistant') return;
    const end = index === messages.length - 1 ? text.length : commonLength(text, write(index + 1, false));
    const before = index === 0 ? '' : tryWrite(() => write(index, false));
    const headed = tryWrite(() => write(index, true));
    const start = turnStart(text, before, headed, message.content);
    if (start < end) turns.push({ start, end });
  });
  return { text, turns };
}

function turnStart(text: string, before: string | undefined, headed: string | undefined, content: unknown): number {
  if (headed !== undefined && headed !== before && text.startsWith(headed)) return headed.length;
  const shared = commonLength(text, before ?? '');
  const at = typeof content === 'string' && content.trim() !== '' ? text.indexOf(content.trim(), shared) : -1;
  return at < 0 ? shared : at;
}

/** A template may refuse a part of a conversation that it accepts as a whole. */
function tryWrite(write: () => string): string | undefined {
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
