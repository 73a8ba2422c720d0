import { FormatError } from '../errors.js';
import { memoryDirectory, overlaid, readJson, readText, type Directory } from '../io/directory.js';
import { editJson } from '../io/json-edit.js';
import { isRecord } from '../io/json.js';
import { readChatTemplate } from './chat-template.js';
import { chatTemplateSource } from './chat-templates.js';

/**
 * Where transformers 5 saves the one chat template of a tokenizer; it goes before `chat_template` of
 * tokenizer_config.json.
 */
export const CHAT_TEMPLATE_FILE = 'chat_template.jinja';

const CONFIG = 'tokenizer_config.json';
/** Older transformers' file of a processor, which its tokenizers do not read. */
const PROCESSOR_FILE = 'chat_template.json';

/**
 * The chat template of a model or adapter directory: that of chat_template.jinja, else tokenizer_config.json, else
 * chat_template.json.
 * @throws FormatError naming the file and field of a malformed one.
 */
export async function modelChatTemplate(directory: Directory): Promise<string | undefined> {
  return (await tokenizerTemplate(directory)) ?? (await templateIn(directory, PROCESSOR_FILE));
}

/** What `AutoTokenizer` takes for the template of a directory. */
async function tokenizerTemplate(directory: Directory): Promise<string | undefined> {
  return (await readText(directory, CHAT_TEMPLATE_FILE)) ?? (await templateIn(directory, CONFIG));
}

async function templateIn(directory: Directory, file: string): Promise<string | undefined> {
  const json = await readJson(directory, file);
  if (json === undefined) return undefined;
  if (!isRecord(json)) throw new FormatError(`${directory.name}/${file}: expected an object`);
  return readChatTemplate(json['chat_template'], `${directory.name}/${file}`);
}

/**
 * A directory whose tokenizer has this chat template, saved as transformers 5 saves it: the text in
 * chat_template.jinja, and none in tokenizer_config.json, where an older reader would find the one that was replaced.
 * Unchanged where it has the template already.
 * @param given Jinja text, or the name of a template.
 */
export async function withChatTemplate(directory: Directory, given: string): Promise<Directory> {
  const template = chatTemplateSource(given);
  if ((await tokenizerTemplate(directory)) === template) return directory;
  const files: Record<string, string> = { [CHAT_TEMPLATE_FILE]: template };
  const config = await readText(directory, CONFIG);
  if (config !== undefined && (await templateIn(directory, CONFIG)) !== undefined)
    files[CONFIG] = editJson(config, { chat_template: undefined }, `${directory.name}/${CONFIG}`);
  return overlaid(directory, memoryDirectory(directory.name, files));
}
