import { DataError } from '../errors.js';
import { isRecord } from '../io/json.js';
import { JsonNumber, parseJsonExactly } from '../io/json-numbers.js';
import type { ChatMessage } from './chat-message.js';
import { jsonText, toValue } from './values.js';

/**
 * Tools as a template takes them: a JSON text, as some data sets have it, is parsed.
 * @throws DataError where it does not parse
 */
export function parseTools(tools: unknown): unknown {
  if (typeof tools !== 'string') return tools;
  if (tools.trim() === '') return undefined;
  try {
    return parseJsonExactly(tools);
  } catch (error) {
    throw new DataError(`field "tools" is a text that is not JSON: ${(error as Error).message}`);
  }
}

/**
 * Messages whose calls have their `arguments` as objects; a JSON text (OpenAI's form) is parsed, any other text stays.
 */
export function withParsedArguments(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  return mapArguments(messages, (text) => {
    if (typeof text !== 'string' || !/^\s*[{[]/.test(text)) return text;
    try {
      return parseJsonExactly(text);
    } catch {
      return text;
    }
  });
}

/** The same messages with `arguments` as JSON texts, as templates need them that put them into a text as they are. */
export function withWrittenArguments(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  return mapArguments(messages, (value) =>
    typeof value === 'object' && value !== null && !(value instanceof JsonNumber) ? jsonText(toValue(value)) : value,
  );
}

export function hasCalls(messages: readonly ChatMessage[]): boolean {
  return messages.some((message) => Array.isArray(message['tool_calls']));
}

function mapArguments(messages: readonly ChatMessage[], map: (value: unknown) => unknown): readonly ChatMessage[] {
  if (!hasCalls(messages)) return messages;
  return messages.map((message) => {
    const calls = message['tool_calls'];
    if (!Array.isArray(calls)) return message;
    return {
      ...message,
      tool_calls: calls.map((call: unknown) => {
        if (!isRecord(call)) return call;
        const own = 'arguments' in call ? { ...call, arguments: map(call['arguments']) } : call;
        const inner = call['function'];
        return isRecord(inner) && 'arguments' in inner
          ? { ...own, function: { ...inner, arguments: map(inner['arguments']) } }
          : own;
      }),
    };
  });
}
