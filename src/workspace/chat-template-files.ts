import { readFile } from 'node:fs/promises';
import { isAbsolute } from '../config/paths.js';
import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import { isFile } from '../io/node.js';
import { CHAT_TEMPLATE_NAMES, isChatTemplate } from '../tokenizer/chat-templates.js';

/** Puts the text of chat templates in the place of their files, so that the config says all. */
export async function withTemplates(config: RunConfig): Promise<RunConfig> {
  const read = async <T>(value: T): Promise<T> => {
    if (typeof value !== 'object' || value === null) return value;
    const { chat_template: template } = value as { chat_template?: string };
    if (template === undefined || !isAbsolute(template)) return value;
    try {
      return { ...value, chat_template: await readFile(template, 'utf8') };
    } catch (error) {
      throw new ConfigError(`chat_template: cannot read ${template}`, { cause: error });
    }
  };
  const data = await read(config.data);
  const own = await Promise.all(
    (['train', 'validation', 'test'] as const).map(async (part) => {
      const value = data[part];
      return value === undefined
        ? []
        : [[part, Array.isArray(value) ? await Promise.all(value.map(read)) : await read(value)] as const];
    }),
  );
  return {
    ...config,
    data: { ...data, ...(Object.fromEntries(own.flat()) as Pick<RunConfig['data'], 'train' | 'validation' | 'test'>) },
  };
}

/**
 * A chat template that is given as a file, a name, or the Jinja text itself. @throws ConfigError when it is none of
 * these.
 */
export async function chatTemplateText(given: string): Promise<string> {
  if (await isFile(given)) return readFile(given, 'utf8');
  if (isChatTemplate(given)) return given;
  throw new ConfigError(
    `--chat-template ${given}: no such file, no name (${CHAT_TEMPLATE_NAMES.join(', ')}) and no Jinja text`,
  );
}
