import { ConfigError, DataError } from '../errors.js';
import { isRecord } from '../io/json.js';
import { exactJsonOrUndefined } from '../io/json-numbers.js';
import type { Random } from '../random.js';
import type { ChatMessage } from '../tokenizer/chat-template.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { TextSpan } from '../tokenizer/trace.js';
import { writeChat } from './chat.js';
import type { TraceMessages } from './turns.js';
import { checkRow, stringProblem } from './formats.js';
import { describeValue, type JsonRow } from './row.js';
import type { DataOptions } from './options.js';
import type { RowPlan, TextPart } from './plan.js';
import { writeRow } from './row-template.js';

/** A row as text, before it becomes tokens. */
export interface RenderedRow {
  readonly text: string;
  /** What the loss is taken over, in ascending order: [start, end) of `text`. */
  readonly learnt: readonly TextSpan[];
  /** The chat template marks what is learnt: closing tokens are not searched. */
  readonly marked?: boolean;
  /** What is not learnt even where all of a text is: turns of weight 0. */
  readonly excluded?: readonly TextSpan[];
  /** A conversation has tool calls that the chat template does not write. */
  readonly omitsCalls?: boolean;
  /** A conversation: its template writes all special tokens itself. */
  readonly chat: boolean;
  /** The token an example of this row has to end with. */
  readonly closingId: number | undefined;
  /** What stands before the (last) completion; the whole text where there is none. */
  readonly prompt: string;
  /** The completion, of a conversation the last answer; undefined where the whole text is learnt. */
  readonly completion: string | undefined;
}

export type RenderOutcome =
  | { readonly rendered: RenderedRow }
  /** The row is wrong: the data set is refused. */
  | { readonly problem: string }
  /** The row holds nothing to learn: it is left out and listed. */
  | { readonly empty: string };

export interface RenderContext {
  readonly plan: RowPlan;
  readonly options: DataOptions;
  readonly tokenizer: Tokenizer | undefined;
  /** Stream from which each row draws its template. */
  readonly draw: Random;
}

/**
 * Turns a row into text.
 * @throws ConfigError where the fault is in the settings and not in the row.
 */
export function renderRow(row: JsonRow, context: RenderContext): RenderOutcome {
  const { plan } = context;
  if (plan.format === 'tokens') throw new ConfigError('data: rows of token ids have no text');
  if (plan.format !== 'template') {
    const problem = checkRow(row, plan.format);
    if (problem !== undefined) return { problem };
  }
  try {
    return 'prompt' in plan ? renderParts(row, plan.prompt, plan.completion, context) : renderMessages(row, context);
  } catch (error) {
    if (error instanceof DataError) return { problem: error.message };
    throw error;
  }
}

function renderParts(
  row: JsonRow,
  promptPart: TextPart,
  completionPart: TextPart | undefined,
  context: RenderContext,
): RenderOutcome {
  const { draw } = context;
  const kind = { chat: false, closingId: context.tokenizer?.eosTokenId };
  const prompt = writePart(row, promptPart, draw);
  if (typeof prompt !== 'string') return prompt;
  if (completionPart === undefined) {
    if (prompt.trim() === '') return { empty: 'the text is empty' };
    return {
      rendered: { text: prompt, learnt: [{ start: 0, end: prompt.length }], ...kind, prompt, completion: undefined },
    };
  }
  const completion = writePart(row, completionPart, draw);
  if (typeof completion !== 'string') return completion;
  if (completion.trim() === '') return { empty: 'the completion is empty' };
  const text = prompt + completion;
  return { rendered: { text, learnt: [{ start: prompt.length, end: text.length }], ...kind, prompt, completion } };
}

export function writePart(row: JsonRow, part: TextPart, draw: Random): string | { readonly problem: string } {
  if ('field' in part) {
    const problem = stringProblem(row, part.field);
    return problem === undefined ? String(row[part.field]) : { problem };
  }
  const index = part.templates.length > 1 ? draw.below(part.templates.length) : 0;
  const template = part.templates[index];
  if (template === undefined) throw new ConfigError('data: no template to draw from');
  return writeRow(template, row);
}

function renderMessages(row: JsonRow, { options, tokenizer }: RenderContext): RenderOutcome {
  if (tokenizer === undefined) throw new ConfigError('data: conversations need a tokenizer, and this model has none');
  const messages = row['messages'] as readonly ChatMessage[]; // checkRow has seen to it
  const tools = row['tools'] ?? undefined;
  const variables = { ...(tools === undefined ? {} : { tools }), ...options.chat_template_kwargs, ...variablesOf(row) };
  const trace: TraceMessages = (part, addGenerationPrompt) =>
    tokenizer.traceChatTemplate(part, { addGenerationPrompt, template: options.chat_template, variables });
  const { text, answerStart, ...found } = writeChat(messages, trace, options.train_on);
  const kind = { ...found, chat: true, closingId: tokenizer.endOfTurn(options.chat_template, variables) };
  if (found.learnt.length === 0 && options.train_on !== 'all') return { empty: nothingLearnt(messages, found.marked) };
  if (answerStart === undefined) return { rendered: { text, ...kind, prompt: text, completion: undefined } };
  const answer = messages.findLast((message) => message.role === 'assistant')?.content;
  const completion = typeof answer === 'string' ? answer : text.slice(answerStart, found.learnt.at(-1)?.end);
  return { rendered: { text, ...kind, prompt: text.slice(0, answerStart), completion } };
}

function nothingLearnt(messages: readonly ChatMessage[], marked: boolean): string {
  if (!messages.some(({ role }) => role === 'assistant')) return 'the conversation has no answer of the assistant';
  return marked
    ? 'the chat template marks nothing of the conversation with {% generation %}'
    : 'no answer of the assistant is learnt: each has the weight 0, or the chat template leaves it out';
}

/** Variables of the chat template that a row has for itself, as trl reads them. */
function variablesOf(row: JsonRow): Readonly<Record<string, unknown>> {
  const own = row['chat_template_kwargs'] ?? undefined;
  if (own === undefined) return {};
  const value: unknown = typeof own === 'string' ? exactJsonOrUndefined(own) : own;
  if (!isRecord(value))
    throw new DataError(`field "chat_template_kwargs" must be an object, found ${describeValue(own)}`);
  return value;
}
