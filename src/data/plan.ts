import { ConfigError, DataError } from '../errors.js';
import { compileTemplate, type CompiledTemplate } from '../tokenizer/template.js';
import { describeFormats, detectFormat } from './formats.js';
import type { JsonRow } from './row.js';
import { compileRowTemplate } from './row-template.js';
import { templateName, templatesOf, type ConversationFormat, type DataOptions, type RowFormat } from './options.js';

/** Where a piece of text comes from: a field as it is, or one of several templates. */
export type TextPart = { readonly field: string } | { readonly templates: readonly CompiledTemplate[] };

/** How the rows of one source are read, settled on its first row. */
export type RowPlan =
  | { readonly format: 'tokens' }
  /** `form` is what the rows are before they are read as messages. */
  | { readonly format: 'messages'; readonly form: ConversationFormat }
  | {
      readonly format: Exclude<RowFormat, 'tokens' | ConversationFormat>;
      readonly prompt: TextPart;
      readonly completion: TextPart | undefined;
    };

/** The format of a file's rows as its user knows it. */
export function formatOf(plan: RowPlan): RowFormat {
  return 'form' in plan ? plan.form : plan.format;
}

/** The prompt of Stanford Alpaca, with and without an input. Jinja drops one newline at the end, hence the second. */
const ALPACA_PROMPT =
  'Below is an instruction that describes a task{% if input %}, paired with an input that provides further context{% endif %}. ' +
  'Write a response that appropriately completes the request.\n\n### Instruction:\n{{ instruction }}\n\n' +
  '{% if input %}### Input:\n{{ input }}\n\n{% endif %}### Response:\n\n';

/**
 * Settles how rows are read from the options and the first row.
 * @throws DataError when the row has no known format; ConfigError when the options do not say where the prompt is.
 */
export function planRows(options: DataOptions, first: JsonRow, place: string): RowPlan {
  const { format: wanted = 'auto' } = options;
  const found = detectFormat(first);
  // Lists of messages under the names of a plain completion, whichever of the two is asked for.
  const format = wanted === 'auto' || (wanted === 'completion' && found === 'completion_messages') ? found : wanted;
  const custom =
    options.template ??
    options.prompt_field ??
    options.completion_template ??
    options.completion_field ??
    options.text_field;
  if (custom !== undefined) {
    if (options.text_field !== undefined)
      return { format: 'template', prompt: { field: options.text_field }, completion: undefined };
    return {
      format: 'template',
      prompt: customPrompt(options, format, first),
      completion: customCompletion(options, format, first),
    };
  }
  switch (format) {
    case 'tokens':
      return { format };
    case 'messages':
    case 'sharegpt':
    case 'completion_messages':
    case 'alpaca_chat':
      return { format: 'messages', form: format };
    case 'completion':
      return { format, prompt: { field: 'prompt' }, completion: { field: 'completion' } };
    case 'alpaca':
      return { format, prompt: { templates: [alpacaPrompt()] }, completion: { field: 'output' } };
    case 'text':
      return { format, prompt: { field: 'text' }, completion: undefined };
    case undefined: {
      const fields = Object.keys(first)
        .map((key) => `"${key}"`)
        .join(', ');
      throw new DataError(
        `${place}: no known format: the row has ${fields || 'no fields'}. Give a template over its fields (or prompt_field and completion_field), or rows of one of these:\n${describeFormats()}`,
      );
    }
  }
}

function customPrompt(options: DataOptions, format: RowFormat | undefined, first: JsonRow): TextPart {
  const sources = templatesOf(options);
  if (sources.length > 0) {
    const templates = sources.map((source, index) =>
      source === 'alpaca' ? alpacaPrompt() : compileRowTemplate(source, templateName(index, sources.length), first),
    );
    return { templates };
  }
  if (options.prompt_field !== undefined) return { field: options.prompt_field };
  if (format === 'alpaca') return { templates: [alpacaPrompt()] };
  if (format === 'completion') return { field: 'prompt' };
  throw new ConfigError('data: a completion is named but no prompt: give template or prompt_field');
}

function customCompletion(options: DataOptions, format: RowFormat | undefined, first: JsonRow): TextPart | undefined {
  if (options.completion_template !== undefined) {
    return { templates: [compileRowTemplate(options.completion_template, 'completion_template', first)] };
  }
  if (options.completion_field !== undefined) return { field: options.completion_field };
  if (options.format === 'text') return undefined;
  if (format === 'alpaca') return { field: 'output' };
  if (first['completion'] !== undefined) return { field: 'completion' };
  if (options.prompt_field !== undefined) {
    throw new ConfigError(
      'data: prompt_field is given but nothing says what the completion is: give completion_field or completion_template',
    );
  }
  return undefined;
}

function alpacaPrompt(): CompiledTemplate {
  return compileTemplate(ALPACA_PROMPT, 'the Alpaca prompt');
}
