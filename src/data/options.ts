import { ConfigError } from '../errors.js';
import { CHAT_TEMPLATE_NAMES, isChatTemplate } from '../tokenizer/chat-templates.js';

/** What a row holds. `auto` looks at the fields of the first row; every row of a file has to agree with it. */
export const DATA_FORMATS = [
  'auto',
  'text',
  'completion',
  'completion_messages',
  'messages',
  'sharegpt',
  'alpaca',
  'alpaca_chat',
  'tokens',
] as const;
/** A value of `data.format`. */
export type DataFormat = (typeof DATA_FORMATS)[number];

/** Formats whose rows are conversations, which a chat template writes. */
const CONVERSATION_FORMATS = [
  'messages',
  'sharegpt',
  'completion_messages',
  'alpaca_chat',
] as const satisfies readonly DataFormat[];
export type ConversationFormat = (typeof CONVERSATION_FORMATS)[number];

/** The formats a row can have in the end; `template` is any row whose text comes from the user's template or fields. */
export type RowFormat = Exclude<DataFormat, 'auto'> | 'template';

/** How rows become training examples. Names as in a configuration file. */
export interface DataOptions {
  /** Default `auto`. */
  readonly format?: DataFormat | undefined;
  /**
   * Jinja source of the prompt over the row's own fields (also reachable as `row['any name']`), the name `alpaca`, or a
   * list of which every row draws one by `seed`. Without a completion it is the whole text.
   */
  readonly template?: string | readonly string[] | undefined;
  /** Jinja source of what the model shall learn to write after the prompt. */
  readonly completion_template?: string | undefined;
  /** Field with the prompt, taken as it is, where there is no template. */
  readonly prompt_field?: string | undefined;
  /** Field with the completion, taken as it is; default `completion` (`output` in Alpaca rows). */
  readonly completion_field?: string | undefined;
  /** Field with the text, for rows that call it something else than `text`. */
  readonly text_field?: string | undefined;
  /** Chat template used instead of the tokenizer's: the name of one (`chatml`, `llama3`, …), or Jinja. */
  readonly chat_template?: string | undefined;
  /** Further variables for the chat template. */
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Which tokens enter the loss: the completion (of conversations the assistant's turns), or all. Default `completion`.
   */
  readonly train_on?: 'completion' | 'all' | undefined;
  /** Longest example in tokens; what lies beyond is cut off. Default: no limit. */
  readonly max_length?: number | undefined;
  /**
   * Put several examples into one row of max_length tokens, each seeing only itself (training rows only). Default
   * false.
   */
  readonly packing?: boolean | undefined;
  /** Leave rows in their files and encode them when they are drawn. Default false. */
  readonly streaming?: boolean | undefined;
  /** Shuffle anew every epoch (read by the sampler). Default true. */
  readonly shuffle?: boolean | undefined;
  /** Part of the rows kept for validation: a fraction below 1 or a count. */
  readonly validation_split?: number | undefined;
  /** Train on so many rows only; the rows of a smaller number are among those of a larger one. */
  readonly max_train_samples?: number | undefined;
  /** Seed of the draw of templates and of the split. Default 0. */
  readonly seed?: number | undefined;
}

export function isConversation(format: DataFormat | RowFormat): format is ConversationFormat {
  return (CONVERSATION_FORMATS as readonly string[]).includes(format);
}

/**
 * Checks options against each other.
 * @throws ConfigError listing every contradiction at once.
 */
export function checkDataOptions(options: DataOptions): void {
  const wrong: string[] = [];
  const { format = 'auto', template, max_length: maxLength, validation_split: split } = options;
  const templates = templatesOf(options);
  if (template !== undefined && templates.length === 0) wrong.push('template: the list is empty');
  for (const [index, source] of templates.entries()) {
    if (source !== 'alpaca' && !source.includes('{{')) {
      wrong.push(`${templateName(index, templates.length)} writes no field of the row ({{ field }})`);
    }
  }
  if (template !== undefined && options.prompt_field !== undefined)
    wrong.push('template and prompt_field exclude each other');
  if (options.completion_template !== undefined && options.completion_field !== undefined) {
    wrong.push('completion_template and completion_field exclude each other');
  }
  const ownText =
    template ?? options.prompt_field ?? options.completion_template ?? options.completion_field ?? options.text_field;
  if ((format === 'tokens' || isConversation(format)) && ownText !== undefined) {
    wrong.push(
      `format ${format} takes neither templates nor fields${isConversation(format) ? ' (chat_template changes the wording)' : ''}`,
    );
  }
  if (
    options.text_field !== undefined &&
    (template ?? options.prompt_field ?? options.completion_field) !== undefined
  ) {
    wrong.push('text_field excludes template, prompt_field and completion_field');
  }
  const { chat_template: chat } = options;
  if (chat !== undefined && !isChatTemplate(chat))
    wrong.push(
      `chat_template ${JSON.stringify(chat)} is neither a name (${CHAT_TEMPLATE_NAMES.join(', ')}) nor Jinja; a file is written ./…, ../… or absolute`,
    );
  if (maxLength !== undefined && (!Number.isInteger(maxLength) || maxLength < 2)) {
    wrong.push(`max_length must be an integer of at least 2, found ${maxLength}`);
  }
  if (split !== undefined && !(split > 0 && (split < 1 || Number.isInteger(split)))) {
    wrong.push(`validation_split must be a fraction between 0 and 1 or a count, found ${split}`);
  }
  if (wrong.length > 0) throw new ConfigError(wrong.map((line) => `data: ${line}`).join('\n'));
}

export function templatesOf(options: DataOptions): readonly string[] {
  const { template } = options;
  if (template === undefined) return [];
  return typeof template === 'string' ? [template] : template;
}

/** `template`, or `template 2 of 3`. */
export function templateName(index: number, count: number): string {
  return count === 1 ? 'template' : `template ${index + 1} of ${count}`;
}
