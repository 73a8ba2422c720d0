import { readFile } from 'node:fs/promises';
import { FormatError } from '../errors.js';
import type { JsonRow } from '../data/row.js';
import type { ChatPrompt, Prompt } from '../eval/prompt.js';
import { isRecord, parseJson } from '../io/json.js';
import { parseJsonExactly } from '../io/json-numbers.js';
import type { ChatMessage } from '../tokenizer/chat-template.js';

/** One line of a file of requests. */
export interface GenerateRequest {
  /** A row's prompt is written as in training. */
  readonly prompt: Prompt | { readonly row: JsonRow };
  /** The adapter to answer with: undefined is the one in force, null the base alone. */
  readonly adapter: string | null | undefined;
}

const FORM =
  'expected one of prompt (a text), messages (a list of {role, content}, optionally with tools and chat_template_kwargs), row (the fields of a training row) and prompt_tokens (a list of ids), and optionally adapter (a name or null)';

/** JSONL file of prompts, each with the adapter that shall answer it. @throws FormatError listing every bad line. */
export async function readRequests(file: string): Promise<GenerateRequest[]> {
  const lines = (await readFile(file, 'utf8')).split('\n');
  const requests: GenerateRequest[] = [];
  const problems: string[] = [];
  lines.forEach((line, i) => {
    if (line.trim() === '') return;
    const request = parseRequest(parseExactly(line, `${file}, line ${i + 1}`));
    if (request === undefined) problems.push(`line ${i + 1}`);
    else requests.push(request);
  });
  if (problems.length > 0) throw new FormatError(`${file}: ${problems.join(', ')}: ${FORM}`);
  if (requests.length === 0) throw new FormatError(`${file}: holds no request`);
  return requests;
}

function parseRequest(json: unknown): GenerateRequest | undefined {
  if (!isRecord(json)) return undefined;
  const { adapter } = json;
  if (adapter !== undefined && adapter !== null && typeof adapter !== 'string') return undefined;
  const prompts: GenerateRequest['prompt'][] = [];
  const { prompt, prompt_tokens: tokens, row } = json;
  if (typeof prompt === 'string') prompts.push({ text: prompt });
  const conversation = parseConversation(json);
  if (conversation !== undefined) prompts.push(conversation);
  if (Array.isArray(tokens) && tokens.every(Number.isInteger)) prompts.push({ tokens: tokens as number[] });
  if (isRecord(row)) prompts.push({ row });
  const [only] = prompts;
  return prompts.length === 1 && only !== undefined ? { prompt: only, adapter } : undefined;
}

/** JSON with numbers as they are spelt, for templates that write them out. @throws FormatError */
export function parseExactly(text: string, name: string): unknown {
  parseJson(text, name); // for its messages
  return parseJsonExactly(text);
}

/**
 * A list of messages, or an object with `messages` and what else the chat template is given; undefined for anything
 * else.
 */
export function parseConversation(json: unknown): ChatPrompt | undefined {
  const { messages, tools, chat_template_kwargs: kwargs } = isRecord(json) ? json : { messages: json };
  const isMessage = (value: unknown): value is ChatMessage => isRecord(value) && typeof value['role'] === 'string';
  if (!Array.isArray(messages) || messages.length === 0 || !messages.every(isMessage)) return undefined;
  if (kwargs !== undefined && kwargs !== null && !isRecord(kwargs)) return undefined;
  return {
    messages,
    ...(tools === undefined || tools === null ? {} : { tools }),
    ...(isRecord(kwargs) ? { chat_template_kwargs: kwargs } : {}),
  };
}
