import { ConfigError, DataError, FormatError } from '../errors.js';
import { isRecord } from '../io/json.js';
import type { ChatMessage } from './chat-message.js';
import { CHAT_TEMPLATE_NAMES, chatTemplateSource } from './chat-templates.js';
import { compileTemplate, type CompiledTemplate, type TemplateVariables } from './template.js';
import { hasCalls, parseTools, withParsedArguments, withWrittenArguments } from './tool-texts.js';
import type { TracedText } from './trace.js';

export type { ChatMessage };

export interface ChatTemplateOptions {
  /** End with the header of an assistant turn, ready for the model to go on. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** A Jinja source, or a name of chat-templates.ts, used instead of the tokenizer's own. */
  readonly template?: string | undefined;
  /** Further variables of the template (`tools`, `date_string`, `enable_thinking`, …). */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
}

/** A conversation in the words of a chat template, and which part is what. */
export interface TracedChat extends TracedText {
  /** The template has `{% generation %}` tags. */
  readonly marksGeneration: boolean;
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
    ? value.map((entry: unknown): [unknown, unknown] =>
        isRecord(entry) ? [entry['name'], entry['template']] : [undefined, undefined],
      )
    : isRecord(value)
      ? Object.entries(value)
      : undefined;
  if (entries === undefined)
    throw new FormatError(`${file}: field "chat_template" is neither a string nor a list of templates`);
  for (const [name, template] of entries) {
    if (typeof name !== 'string' || typeof template !== 'string') {
      throw new FormatError(
        `${file}: field "chat_template": every entry needs a "name" and a "template", both strings`,
      );
    }
  }
  const chosen = entries.find(([name]) => name === 'default') ?? entries[0];
  return chosen === undefined ? undefined : String(chosen[1]);
}

/** Renders conversations; parsed templates are kept. */
export class ChatTemplateRenderer {
  private readonly compiled = new Map<string, CompiledTemplate>();

  constructor(
    /** Of every conversation: the special tokens by name, and what the caller adds. */
    private readonly variables: Readonly<Record<string, unknown>>,
    private readonly own: string | undefined,
    private readonly name: string,
  ) {}

  /** @throws ConfigError when there is no template or it does not parse; DataError when it refuses the conversation. */
  render(messages: readonly ChatMessage[], options: ChatTemplateOptions): string {
    return this.apply(messages, options, (template, variables) => template.render(variables));
  }

  /** Renders and says which part of the text is what; see CompiledTemplate.trace. @throws as render. */
  trace(messages: readonly ChatMessage[], options: ChatTemplateOptions): TracedChat {
    return this.apply(messages, options, (template, variables) => ({
      ...template.trace(variables),
      marksGeneration: template.marksGeneration,
    }));
  }

  private apply<T>(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions,
    write: (template: CompiledTemplate, variables: TemplateVariables) => T,
  ): T {
    const template = this.compile(options.template === undefined ? this.own : chatTemplateSource(options.template));
    const { tools, ...variables } = options.variables ?? {};
    // Without tools and documents transformers hands over None.
    const addGenerationPrompt = options.addGenerationPrompt ?? false;
    const all = {
      documents: null,
      ...this.variables,
      ...variables,
      tools: parseTools(tools) ?? null,
      add_generation_prompt: addGenerationPrompt,
    };
    try {
      return write(template, { ...all, messages: withParsedArguments(messages) });
    } catch (error) {
      if (!(error instanceof DataError) || !hasCalls(messages)) throw error;
      try {
        // Some templates (DeepSeek's) take the arguments as the JSON text that OpenAI's interface has.
        return write(template, { ...all, messages: withWrittenArguments(messages) });
      } catch {
        throw error;
      }
    }
  }

  private compile(source: string | undefined): CompiledTemplate {
    if (source === undefined) {
      throw new ConfigError(
        `${this.name} has no chat template: give one as chat_template (${CHAT_TEMPLATE_NAMES.join(', ')}, or a file ./…), or use another data format`,
      );
    }
    let template = this.compiled.get(source);
    if (template === undefined) {
      template = compileTemplate(source, `chat template of ${this.name}`);
      this.compiled.set(source, template);
    }
    return template;
  }
}
