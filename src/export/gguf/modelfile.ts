import { ConfigError } from '../../errors.js';
import { visible } from '../../text.js';
import type { ChatMessage } from '../../tokenizer/chat-template.js';
import { CHAT_SHAPES, type ChatShape } from './chat-shapes.js';

/** What a Modelfile needs to know of the base model's tokenizer. */
export interface ChatSource {
  readonly chatTemplate?: string | undefined;
  applyChatTemplate(messages: readonly ChatMessage[], options: { readonly addGenerationPrompt: boolean }): string;
  /** Texts that open a prompt and that Ollama puts there itself. */
  readonly bosToken?: string | undefined;
}

export interface Modelfile {
  readonly text: string;
  /** What a reader of the file should know. */
  readonly notes: readonly string[];
}

const [USER, SYSTEM] = ['What is 6 times 7?', 'Answer in one word.'];

/**
 * An Ollama Modelfile: FROM, ADAPTER, and where the chat template is one of the known shapes, its TEMPLATE, default
 * SYSTEM and stops. The shape is found by rendering a conversation and comparing the whole text, so what is written
 * asks the model in the words that it was trained on.
 * @param from a model of Ollama, a GGUF file, or a folder
 * @throws ConfigError when `from` has characters that a Modelfile has no way to write.
 */
export function modelfile(from: string, adapterFile: string, chat: ChatSource | undefined): Modelfile {
  const lines = [`FROM ${value(from)}`, `ADAPTER ./${adapterFile}`];
  const notes: string[] = [];
  if (chat?.chatTemplate === undefined) {
    notes.push('the tokenizer has no chat template: prompts are shaped as the base in Ollama shapes them');
    return { text: `${lines.join('\n')}\n`, notes };
  }
  const found = findShape(chat);
  if (found === undefined) {
    const names = CHAT_SHAPES.map(({ name }) => name).join(', ');
    notes.push(
      `the chat template is none of the known shapes (${names}): no TEMPLATE is written, and the base's in Ollama applies`,
    );
    return { text: `${lines.join('\n')}\n`, notes };
  }
  lines.push(`TEMPLATE """${found.shape.template}"""`);
  if (found.system.includes('"""'))
    notes.push('the default system text holds three quotation marks, which a Modelfile cannot: no SYSTEM is written');
  else if (found.system !== '') lines.push(`SYSTEM """${found.system}"""`);
  for (const stop of found.shape.stops) lines.push(`PARAMETER stop ${JSON.stringify(stop)}`);
  return { text: `${lines.join('\n')}\n`, notes };
}

/**
 * A value on one line. Ollama takes one without quotes up to the end of the line, and what stands in quotes without any
 * escape.
 */
function value(text: string): string {
  if (/[\0-\x1f\x7f-\x9f\u2028\u2029]|\p{Bidi_Control}/u.test(text) || text.trim() === '')
    throw new ConfigError(
      `the name of the base model for FROM in the Modelfile: found ${visible(JSON.stringify(text))}, allowed one line of text without control characters; --from gives another name`,
    );
  if (text === text.trim() && !/^["]/.test(text)) return text;
  if (text.includes('"'))
    throw new ConfigError(
      `the name of the base model for FROM in the Modelfile: found ${visible(JSON.stringify(text))}, allowed no quotation mark at its start, or beside spaces at its ends; --from gives another name`,
    );
  return `"${text}"`;
}

/** The shape of a tokenizer's chat template, and the system text that it adds by itself. */
export function findShape(chat: ChatSource): { readonly shape: ChatShape; readonly system: string } | undefined {
  const render = (messages: readonly ChatMessage[]): string | undefined => {
    try {
      const text = chat.applyChatTemplate(messages, { addGenerationPrompt: true });
      return chat.bosToken !== undefined && chat.bosToken !== '' && text.startsWith(chat.bosToken)
        ? text.slice(chat.bosToken.length)
        : text;
    } catch {
      // Some templates refuse a system message.
      return undefined;
    }
  };
  const user = { role: 'user', content: USER };
  const alone = render([user]);
  const led = render([{ role: 'system', content: SYSTEM }, user]);
  for (const shape of CHAT_SHAPES) {
    if (alone === undefined) return undefined;
    const system = defaultSystem(shape, alone);
    // A template may put its own text in front of every system text, as Llama 3.1 does with dates.
    const fits =
      led === undefined || led === shape.render(SYSTEM, USER) || led === shape.render(`${system}${SYSTEM}`, USER);
    if (system !== undefined && fits) return { shape, system };
  }
  return undefined;
}

/** The system text with which the shape gives the rendered prompt; undefined when none does. */
function defaultSystem(shape: ChatShape, rendered: string): string | undefined {
  if (rendered === shape.render('', USER)) return '';
  const mark = '\u0000';
  const [before, after] = shape.render(mark, USER).split(mark) as [string, string];
  if (!rendered.startsWith(before) || !rendered.endsWith(after) || rendered.length < before.length + after.length)
    return undefined;
  return rendered.slice(before.length, rendered.length - after.length);
}
