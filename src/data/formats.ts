import { describeValue, type JsonRow } from './row.js';
import type { RowFormat } from './options.js';

type PlainFormat = Exclude<RowFormat, 'template'>;

interface FormatRule {
  /** One line for people. */
  readonly description: string;
  /** Whether a row is one of this format, by its fields. */
  fits(row: JsonRow): boolean;
  /** What is wrong with a row; undefined when nothing is. */
  check(row: JsonRow): string | undefined;
}

/** The order is the order of detection: the more telling fields come first. */
const RULES: { readonly [F in PlainFormat]: FormatRule } = {
  tokens: {
    description: 'tokens: {"input_ids": [...], "labels"?: [...], "attention_mask"?: [...]}, taken as they are',
    fits: has('input_ids'),
    check: (row) =>
      listProblem(row, 'input_ids', true) ??
      listProblem(row, 'labels', false) ??
      listProblem(row, 'attention_mask', false),
  },
  messages: {
    description:
      'messages: {"messages": [{"role", "content"}, ...], "tools"?}, written by the chat template; the assistant\'s turns are learnt; a content may be a list of text parts',
    fits: has('messages'),
    check: checkMessages,
  },
  sharegpt: {
    description:
      'sharegpt: {"conversations": [{"from", "value"} or {"role", "content"}, ...], "system"?, "tools"?}, read as messages',
    fits: (row) => row['conversations'] !== undefined || row['conversation'] !== undefined,
    check: checkMessages,
  },
  completion_messages: {
    description:
      'completion_messages: {"prompt": [messages], "completion": [messages]}, read as messages; the assistant\'s turns of the completion are learnt',
    fits: (row) => Array.isArray(row['prompt']) && Array.isArray(row['completion']),
    check: checkMessages,
  },
  completion: {
    description: 'completion: {"prompt", "completion"}, joined as they are; the completion is learnt',
    fits: has('prompt', 'completion'),
    check: (row) => stringProblem(row, 'prompt') ?? stringProblem(row, 'completion'),
  },
  alpaca_chat: {
    description:
      'alpaca_chat: {"instruction", "input"?, "output", "system"?, "history"?: [[question, answer], ...]}, read as messages',
    fits: (row) =>
      row['instruction'] !== undefined &&
      row['output'] !== undefined &&
      ((row['system'] ?? undefined) !== undefined || (row['history'] ?? undefined) !== undefined),
    check: checkMessages,
  },
  alpaca: {
    description: 'alpaca: {"instruction", "input"?, "output"} in the Alpaca prompt; the output is learnt',
    fits: has('instruction', 'output'),
    check: (row) => {
      const input = row['input'] ?? '';
      if (typeof input !== 'string') return `field "input" must be a string, found ${describeValue(input)}`;
      return stringProblem(row, 'instruction') ?? stringProblem(row, 'output');
    },
  },
  text: {
    description: 'text: {"text"}; all of it is learnt',
    fits: has('text'),
    check: (row) => stringProblem(row, 'text'),
  },
};

const FORMATS = Object.keys(RULES) as PlainFormat[];

/** The format whose fields a row has; undefined when it has none's. */
export function detectFormat(row: JsonRow): PlainFormat | undefined {
  return FORMATS.find((format) => RULES[format].fits(row));
}

/**
 * What is wrong with a row of the given format (of a conversation, once it is read as messages); undefined when nothing
 * is.
 */
export function checkRow(row: JsonRow, format: PlainFormat): string | undefined {
  return RULES[format].check(row);
}

/** One line that says what rows of a format look like and what is learnt of them. */
export function describeFormat(format: RowFormat): string {
  if (format === 'template')
    return 'template: any fields, written out by template, completion_template, prompt_field, completion_field or text_field';
  return RULES[format].description;
}

/** All formats, for a message or a help text. */
export function describeFormats(): string {
  return [...FORMATS, 'template' as const].map((format) => `  ${describeFormat(format)}`).join('\n');
}

/** What is wrong with a field that has to be a string. */
export function stringProblem(row: JsonRow, field: string): string | undefined {
  const value = row[field];
  if (typeof value === 'string') return undefined;
  if (value === undefined)
    return `field "${field}" is missing (the row has ${
      Object.keys(row)
        .map((key) => `"${key}"`)
        .join(', ') || 'no fields'
    })`;
  return `field "${field}" must be a string, found ${describeValue(value)}`;
}

function has(...fields: readonly string[]): FormatRule['fits'] {
  return (row) => fields.every((field) => row[field] !== undefined);
}

function listProblem(row: JsonRow, field: string, required: boolean): string | undefined {
  const value = row[field];
  if (value === undefined || value === null) return required ? `field "${field}" is missing` : undefined;
  if (!Array.isArray(value)) return `field "${field}" must be a list of integers, found ${describeValue(value)}`;
  const at = value.findIndex((entry) => !Number.isInteger(entry));
  return at < 0
    ? undefined
    : `field "${field}" must be a list of integers, found ${JSON.stringify(value[at])} at ${at}`;
}

function checkMessages(row: JsonRow): string | undefined {
  const { messages } = row;
  if (!Array.isArray(messages)) return `field "messages" must be a list, found ${describeValue(messages)}`;
  if (messages.length === 0) return 'field "messages" is an empty list';
  for (const [index, message] of messages.entries()) {
    if (typeof message !== 'object' || message === null)
      return `messages[${index}] must be an object, found ${describeValue(message)}`;
    const { role, content, tool_calls: toolCalls } = message as JsonRow;
    if (typeof role !== 'string') return `messages[${index}]: "role" must be a string, found ${describeValue(role)}`;
    const silent = (content === undefined || content === null) && toolCalls !== undefined;
    if (typeof content !== 'string' && !silent)
      return `messages[${index}]: "content" must be a string, found ${describeValue(content)}`;
  }
  return undefined;
}
