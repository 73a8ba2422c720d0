import type { ChatMessage, TracedChat } from '../tokenizer/chat-template.js';
import type { TextSpan } from '../tokenizer/trace.js';

/** Writes messages with a chat template, on demand with the header of an answer after them. */
export type TraceMessages = (messages: readonly ChatMessage[], addGenerationPrompt?: boolean) => TracedChat;

/** Stands in for a content, so that its place is unmistakable. */
const MARK = 'lowrank-content-mark';

/**
 * Finds the turns of a conversation in its text. What each message has written is traced in the one text; what the
 * generation prompt renders is found out once for each role that an answer follows, so the work grows with the
 * conversation and not with its square.
 */
export class TurnLocator {
  private readonly prompts = new Map<string, string | undefined>();
  /** The conversation with the answers exchanged for a mark. */
  private exchanged: TracedChat | undefined;

  constructor(
    private readonly messages: readonly ChatMessage[],
    private readonly whole: TracedChat,
    private readonly trace: TraceMessages,
  ) {}

  /** All that a message has written; undefined where the template writes nothing of it. */
  messageSpan(index: number): TextSpan | undefined {
    return this.whole.messages.get(index) ?? this.turn(index);
  }

  /** A turn behind its header, to the end of what the template writes for it. */
  turn(index: number): TextSpan | undefined {
    const block = this.whole.messages.get(index);
    if (block === undefined) return this.whole.messages.size > 0 ? undefined : this.byPrefixes(index);
    const text = this.whole.text.slice(block.start, block.end);
    const prompt = this.generationPrompt(index);
    const header = prompt === '' ? this.leadLength(index, text) : headerLength(prompt, text);
    return { start: block.start + header, end: block.end };
  }

  /**
   * What stands in front of the content where a template knows no generation prompt; blanks at its end are part of the
   * answer.
   */
  private leadLength(index: number, turn: string): number {
    this.exchanged ??=
      attempt(() =>
        this.trace(
          this.messages.map((message) =>
            message.role === 'assistant' ? { role: message.role, content: MARK } : message,
          ),
        ),
      ) ?? this.whole;
    const span = this.exchanged.messages.get(index);
    const [lead = ''] = halves(this.exchanged.text.slice(span?.start, span?.end));
    return turn.startsWith(lead) ? withoutBlanks(lead).length : 0;
  }

  /** What the generation prompt renders behind the message before. */
  private generationPrompt(index: number): string {
    const role = this.messages[index - 1]?.role ?? '';
    if (!this.prompts.has(role)) this.prompts.set(role, this.renderPrompt(index));
    return this.prompts.get(role) ?? '';
  }

  private renderPrompt(index: number): string | undefined {
    const before = this.messages.slice(0, index);
    const asked = attempt(() => this.trace(before, true));
    if (asked === undefined) return undefined;
    const plain = attempt(() => this.trace(before));
    const plainEnd = plain?.messages.get(index - 1)?.end;
    // Some templates write the header in the pass of the last message: then its own end is that without the header.
    if (plain !== undefined && plainEnd !== undefined && asked.text.startsWith(plain.text.slice(0, plainEnd)))
      return asked.text.slice(plainEnd);
    const end = asked.messages.get(index - 1)?.end;
    if (end !== undefined) return asked.text.slice(end);
    return plain !== undefined && asked.text.startsWith(plain.text) ? asked.text.slice(plain.text.length) : undefined;
  }

  /**
   * The turn of a template that has no loop over the messages: it begins where the conversation before it, with the
   * header of the answer, ends, and ends where the conversation up to it ends. Where the template writes a beginning
   * differently than the whole, or has no such header, the turn is its content and what the template closes it with.
   */
  private byPrefixes(index: number): TextSpan | undefined {
    const { text } = this.whole;
    const write = (messages: readonly ChatMessage[], addGenerationPrompt?: boolean): string | undefined =>
      attempt(() => this.trace(messages, addGenerationPrompt).text);
    const before = write(this.messages.slice(0, index));
    const headed = write(this.messages.slice(0, index), true);
    const through = index === this.messages.length - 1 ? text : write(this.messages.slice(0, index + 1));
    const plainStart = headed !== undefined && headed !== before && text.startsWith(headed) ? headed.length : undefined;
    const plainEnd = through !== undefined && text.startsWith(through) ? through.length : undefined;
    const found = plainStart === undefined || plainEnd === undefined ? this.byContent(index, write) : undefined;
    const start = plainStart ?? found?.start ?? commonLength(text, before ?? '');
    const end = plainEnd ?? found?.end ?? commonLength(text, through ?? '');
    return start < end ? { start, end } : undefined;
  }

  /**
   * Where the content of a message and its closing stand, found by writing the conversation with the content exchanged.
   */
  private byContent(
    index: number,
    write: (messages: readonly ChatMessage[]) => string | undefined,
  ): TextSpan | undefined {
    const { text } = this.whole;
    const marked = this.messages.map((message, i) => (i === index ? { ...message, content: MARK } : message));
    const [head, tail] = halves(write(marked));
    if (head === undefined || tail === undefined || head.length + tail.length > text.length) return undefined;
    if (!text.startsWith(head) || !text.endsWith(tail)) return undefined;
    const end = text.length - tail.length;
    const closing = halves(write(marked.slice(0, index + 1)))[1] ?? '';
    return { start: head.length, end: text.startsWith(closing, end) ? end + closing.length : end };
  }
}

/** Pieces of a generation prompt that a turn has or has not: marks, words, line breaks. */
const PIECES = /<[^<>]*>|\n+|[^<\n]+|</g;

/**
 * How much of a turn its header is: all of the generation prompt, or as many of its pieces as the turn begins with (a
 * prompt that opens or skips a think block may do so where earlier turns have none).
 */
function headerLength(prompt: string, turn: string): number {
  if (turn.startsWith(prompt)) return prompt.length;
  let length = 0;
  for (const [piece] of prompt.matchAll(PIECES)) {
    if (!turn.startsWith(piece, length)) break;
    length += piece.length;
  }
  return length;
}

function withoutBlanks(text: string): string {
  let end = text.length;
  while (text[end - 1] === ' ') end--;
  return text.slice(0, end);
}

function halves(text = ''): [string?, string?] {
  const at = text.indexOf(MARK);
  return at < 0 ? [] : [text.slice(0, at), text.slice(at + MARK.length)];
}

/** A template may refuse a part of a conversation that it accepts as a whole. */
function attempt<T>(write: () => T): T | undefined {
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
