import { chatTemplateSource } from '../tokenizer/chat-templates.js';
import { exactJsonOrUndefined } from '../io/json-numbers.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { ConversationFormat, DataOptions } from './options.js';
import type { RowPlan } from './plan.js';
import { describeValue, type JsonRow, type ParsedRow } from './row.js';

/** How the rows of a file are read. */
interface ReadContext {
  readonly plan: RowPlan;
  readonly options: DataOptions;
  readonly tokenizer: Tokenizer | undefined;
}

type Message = Record<string, unknown>;

/** The names that ShareGPT files use for who speaks, by role. `call` is the assistant calling a tool. */
const NAMES = {
  system: ['system'],
  user: ['human', 'user', 'input', 'prompter'],
  assistant: ['gpt', 'assistant', 'chatgpt', 'model', 'bot', 'bing', 'bard', 'output'],
  tool: ['tool', 'observation', 'function', 'function_response', 'tool_response', 'ipython'],
  call: ['function_call', 'tool_call'],
} as const;

const SPEAKERS: ReadonlyMap<string, string> = new Map(
  Object.entries(NAMES).flatMap(([role, names]) => names.map((name) => [name, role])),
);

/** What is wrong with a row; thrown and caught within this file. */
class RowFault extends Error {}

/** A row as its format has it; a conversation as a row of `messages`. */
export function readRow(row: JsonRow, { plan, options, tokenizer }: ReadContext): ParsedRow {
  if (plan.format !== 'messages') return { value: row };
  return readConversation(row, plan.form, templateSource(options, tokenizer).includes('tool_calls'));
}

/** The chat template that conversations are written with; empty where there is none. */
export function templateSource({ chat_template: given }: DataOptions, tokenizer: Tokenizer | undefined): string {
  return given === undefined ? (tokenizer?.chatTemplate ?? '') : chatTemplateSource(given);
}

/**
 * A conversation of any of the formats as a row with `messages` (role, content), its other columns kept:
 *
 * - `messages`: as they are; a content that is a list of text parts becomes their text.
 * - `sharegpt`: `conversations` (or `conversation`) with `from` and `value`, or `role` and `content`. A `function_call`
 *   becomes `tool_calls` where the chat template writes these, else an answer with its text.
 * - `completion_messages`: `prompt` and `completion` as lists of messages; those of the prompt have weight 0.
 * - `alpaca_chat`: `history` as pairs of question and answer, then `instruction` with `input` below it, and `output`.
 *
 * A column `system` is the first message where the conversation begins with no other system message. Lists may be JSON
 * texts.
 * @param writesCalls whether the chat template writes `tool_calls`.
 */
export function readConversation(row: JsonRow, format: ConversationFormat, writesCalls: boolean): ParsedRow {
  try {
    const messages = messagesOf(row, format, writesCalls);
    const { system } = row;
    const named = typeof system === 'string' && system.trim() !== '' && messages[0]?.['role'] !== 'system';
    return { value: { ...row, messages: named ? [{ role: 'system', content: system }, ...messages] : messages } };
  } catch (error) {
    if (error instanceof RowFault) return { problem: error.message };
    throw error;
  }
}

function messagesOf(row: JsonRow, format: ConversationFormat, writesCalls: boolean): Message[] {
  switch (format) {
    case 'messages':
      return turns(row, 'messages', writesCalls);
    case 'sharegpt':
      return turns(
        row,
        row['conversations'] === undefined && row['conversation'] !== undefined ? 'conversation' : 'conversations',
        writesCalls,
      );
    case 'completion_messages': {
      const context = turns(row, 'prompt', writesCalls).map(
        ({ weight: _weight, train: _train, training: _training, ...message }) => ({
          ...message,
          ...(message['role'] === 'assistant' ? { weight: 0 } : {}),
        }),
      );
      return [...context, ...turns(row, 'completion', writesCalls)];
    }
    case 'alpaca_chat':
      return alpacaTurns(row);
  }
}

function turns(row: JsonRow, field: string, writesCalls: boolean): Message[] {
  const list = listOf(row, field);
  if (list.length === 0) throw new RowFault(`field "${field}" is an empty list`);
  return list.map((turn, index) => readTurn(turn, `${field}[${index}]`, writesCalls));
}

function readTurn(turn: unknown, place: string, writesCalls: boolean): Message {
  if (typeof turn !== 'object' || turn === null || Array.isArray(turn))
    throw new RowFault(`${place} must be an object, found ${describeValue(turn)}`);
  const { from, value, role: named, content: given, ...rest } = turn as JsonRow;
  const content = textOf(
    given === undefined ? value : given,
    `${place}.${given === undefined && value !== undefined ? 'value' : 'content'}`,
  );
  if (typeof named === 'string') {
    // Roles of their own are the template's business; only ShareGPT's names for the usual ones are translated.
    const speaker = named === 'human' || named === 'gpt' || named === 'chatgpt' ? SPEAKERS.get(named) : undefined;
    return { role: speaker ?? named, ...(content === undefined ? {} : { content }), ...rest };
  }
  const sender = from ?? named;
  if (typeof sender !== 'string')
    throw new RowFault(
      `${place}: "${from === undefined ? 'role' : 'from'}" must be a string, found ${describeValue(sender)}`,
    );
  const speaker = SPEAKERS.get(sender.toLowerCase());
  if (speaker === undefined)
    throw new RowFault(`${place}: "from" is ${JSON.stringify(sender)}; read are ${[...SPEAKERS.keys()].join(', ')}`);
  if (content === undefined || content === null)
    throw new RowFault(`${place}: "value" must be a string, found ${describeValue(content)}`);
  if (speaker !== 'call') return { role: speaker, content, ...rest };
  const calls = writesCalls ? callsOf(content) : undefined;
  return calls === undefined
    ? { role: 'assistant', content, ...rest }
    : { role: 'assistant', content: '', tool_calls: calls, ...rest };
}

/** A call as JSON text, `{"name", "arguments"}` or a list of these; undefined where the text is something else. */
function callsOf(text: string): Message[] | undefined {
  const value = exactJsonOrUndefined(text);
  const list: unknown[] = Array.isArray(value) ? value : [value];
  const calls = list.map((call) =>
    typeof call === 'object' && call !== null && typeof (call as Message)['name'] === 'string'
      ? { type: 'function', function: call }
      : undefined,
  );
  return calls.length === 0 ? undefined : calls.every((call) => call !== undefined) ? calls : undefined;
}

/**
 * A content as text: as it is, or the texts of its parts one after the other. What is neither is left for the check of
 * the messages.
 */
function textOf(content: unknown, place: string): string | null | undefined {
  if (typeof content === 'string' || content === null || content === undefined) return content;
  if (!Array.isArray(content))
    throw new RowFault(`${place} must be a string or a list of text parts, found ${describeValue(content)}`);
  return content
    .map((part: unknown, index) => {
      if (typeof part === 'string') return part;
      const { type, text } = (typeof part === 'object' && part !== null ? part : {}) as {
        type?: unknown;
        text?: unknown;
      };
      if (
        typeof text === 'string' &&
        (type === undefined || type === 'text' || type === 'input_text' || type === 'output_text')
      )
        return text;
      const found =
        typeof type === 'string' && !(type === 'text' && typeof text !== 'string')
          ? `a part of type ${JSON.stringify(type)}`
          : `${describeValue(part)} without a text`;
      throw new RowFault(`${place}[${index}] is ${found}: only text is read ({"type": "text", "text": "…"})`);
    })
    .join('');
}

function alpacaTurns(row: JsonRow): Message[] {
  const text = (field: string): string => {
    const value = row[field];
    if (typeof value !== 'string')
      throw new RowFault(`field "${field}" must be a string, found ${describeValue(value)}`);
    return value;
  };
  const history = (row['history'] ?? undefined) === undefined ? [] : listOf(row, 'history');
  const before = history.flatMap((pair, index) => {
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((side) => typeof side === 'string')) {
      throw new RowFault(`history[${index}] must be a pair of texts, question and answer`);
    }
    return exchange(pair[0] as string, pair[1] as string);
  });
  const input = (row['input'] ?? '') === '' ? '' : `\n${text('input')}`;
  return [...before, ...exchange(text('instruction') + input, text('output'))];
}

function exchange(question: string, answer: string): Message[] {
  return [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ];
}

/** A field that is a list, or the JSON text of one, as in tables. */
function listOf(row: JsonRow, field: string): readonly unknown[] {
  const value = row[field];
  const list = typeof value === 'string' ? exactJsonOrUndefined(value) : value;
  if (!Array.isArray(list)) throw new RowFault(`field "${field}" must be a list, found ${describeValue(value)}`);
  return list;
}
