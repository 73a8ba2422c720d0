import { ConfigError, DataError } from '../errors.js';
import { Random } from '../random.js';
import type { ChatMessage } from '../tokenizer/chat-template.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { readRow } from './conversations.js';
import type { DataOptions } from './options.js';
import { formatOf, planRows } from './plan.js';
import { writePart } from './render.js';
import type { JsonRow } from './row.js';

/**
 * The prompt of a row, to be answered: text, or a conversation that ends before the answer, with the tools of the row.
 */
export type RowPrompt =
  { readonly text: string } | { readonly messages: readonly ChatMessage[]; readonly tools?: unknown };

/**
 * The prompt that a row has in training, of a row that may lack its completion. Of several templates the first is
 * taken; a conversation ends before its last answer.
 * @param place of the row, for messages.
 * @throws DataError naming the fields that are missing; ConfigError for rows of token ids.
 */
export function promptOfRow(
  row: JsonRow,
  options: DataOptions,
  tokenizer: Tokenizer | undefined,
  place: string,
): RowPrompt {
  const { template, ...rest } = options;
  const first = Array.isArray(template) ? (template as readonly string[])[0] : (template as string | undefined);
  // The fields of a completion decide what kind of row it is, and hold nothing yet.
  const completed = {
    completion: Array.isArray(row['prompt']) ? [{ role: 'assistant', content: '' }] : '',
    output: '',
    ...row,
  };
  const plan = planRows({ ...rest, template: first }, completed, place);
  if (plan.format === 'tokens')
    throw new ConfigError(`${place}: rows of token ids have no prompt: give --prompt-tokens`);
  if ('prompt' in plan) {
    const text = writePart(row, plan.prompt, new Random(0, 'prompt'));
    if (typeof text !== 'string') throw new DataError(`${place}: ${text.problem}`);
    return { text };
  }
  const read = readRow(completed, { plan, options, tokenizer });
  if ('problem' in read) throw new DataError(`${place}: ${read.problem}`);
  const messages = read.value['messages'];
  if (!Array.isArray(messages) || messages.length === 0)
    throw new DataError(`${place}: ${formatOf(plan)}: holds no messages`);
  const list = messages as ChatMessage[];
  const asked = list.at(-1)?.role === 'assistant' ? list.slice(0, -1) : list;
  return { messages: asked, ...(row['tools'] === undefined ? {} : { tools: row['tools'] }) };
}
