import { readFile } from 'node:fs/promises';
import { ConfigError } from '../errors.js';
import { isFile } from '../io/node.js';
import { CHAT_TEMPLATE_NAMES, isChatTemplate } from '../tokenizer/chat-templates.js';

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
