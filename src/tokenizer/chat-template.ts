import { ConfigError, FormatError } from '../errors.js';
import { isRecord } from '../io/json.js';
import type { SpecialTokens } from './special-tokens.js';
import { compileTemplate, type CompiledTemplate } from './template.js';

/** One turn of a conversation; further keys (`tool_calls`, `name`, …) reach the template as they are. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [key: string]: unknown;
}

export interface ChatTemplateOptions {
  /** End with the header of an assistant turn, ready for the model to go on. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** A Jinja source used instead of the tokenizer's own. */
  readonly template?: string | undefined;
  /** Further variables of the template (`tools`, `date_string`, `enable_thinking`, …). */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Reads `chat_template` of tokenizer_config.json: a string, a list of `{name, template}`, or an object from name to
 * template. Of several the one named `default` is taken, else the first.
 * @throws FormatError naming the file for any other form.
 */
export function readChatTemplate(value: unknown, file: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const entries = Array.isArray(value)
    ? value.map((entry: unknown): [unknown, unknown] => (isRecord(entry) ? [entry['name'], entry['template']] : [undefined, undefined]))
    : isRecord(value)
      ? Object.entries(value)
      : undefined;
  if (entries === undefined) throw new FormatError(`${file}: field "chat_template" is neither a string nor a list of templates`);
  for (const [name, template] of entries) {
    if (typeof name !== 'string' || typeof template !== 'string') {
      throw new FormatError(`${file}: field "chat_template": every entry needs a "name" and a "template", both strings`);
    }
  }
  const chosen = entries.find(([name]) => name === 'default') ?? entries[0];
  return chosen === undefined ? undefined : String(chosen[1]);
}

/** Renders conversations; parsed templates are kept. */
export class ChatTemplateRenderer {
  private readonly compiled = new Map<string, CompiledTemplate>();

  constructor(
    private readonly tokens: SpecialTokens,
    private readonly own: string | undefined,
    private readonly name: string,
  ) {}

  /** @throws ConfigError when there is no template or it does not parse; DataError when it refuses the conversation. */
  render(messages: readonly ChatMessage[], options: ChatTemplateOptions): string {
    const source = options.template ?? this.own;
    if (source === undefined) {
      throw new ConfigError(`${this.name} has no chat template: give one as chat_template, or use another data format`);
    }
    let template = this.compiled.get(source);
    if (template === undefined) {
      template = compileTemplate(source, `chat template of ${this.name}`);
      this.compiled.set(source, template);
    }
    return template.render({
      ...this.tokens,
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? false,
    });
  }
}
