import { ConfigError, FormatError } from '../errors.js';
import { memoryDirectory, overlaid, readJson, type Directory } from '../io/directory.js';
import { isRecord } from '../io/json.js';
import { CHAT_TEMPLATE_FILE } from './model-chat-template.js';
import { TOKENIZER_FILES } from './tokenizer.js';
import { countVocabulary, normaliseTokenizerJson, type TokenizerJson } from './tokenizer-json.js';

const FILE = 'tokenizer.json';

/**
 * The model directory with the tokenizer that lies beside an adapter, where there is one: it is the one that this was
 * trained with.
 */
export async function besideAdapter(model: Directory, adapter: Directory): Promise<Directory> {
  const files = await adapter.list();
  return files.includes(FILE) || files.includes(CHAT_TEMPLATE_FILE)
    ? overlaid(model, adapter, (path) => TOKENIZER_FILES.includes(path))
    : model;
}

/**
 * The same for adapters that are used side by side: one tokenizer for all of them.
 * @throws FormatError when one of them has tokens that another lacks
 */
export async function besideAdapters(model: Directory, adapters: readonly Directory[]): Promise<Directory> {
  const all = await Promise.all(adapters.map((adapter) => besideAdapter(model, adapter)));
  const sizes = adapters.length < 2 ? [] : await Promise.all(all.map(vocabularySize));
  const other = sizes.findIndex((size) => size !== sizes[0]);
  if (other > 0)
    throw new FormatError(
      `${adapters[0]?.name} and ${adapters[other]?.name}: ${sizes[0]} and ${sizes[other]} tokens: use one of them at a time`,
    );
  return all.find((directory) => directory !== model) ?? model;
}

/** A model directory whose tokenizer has the tokens besides that were added to the one beside an adapter. */
export async function withTokensOf(model: Directory, adapter: Directory): Promise<Directory> {
  const [own, grown] = await Promise.all([readJson(model, FILE), readJson(adapter, FILE)]);
  if (own === undefined || grown === undefined) return model;
  const known = new Set(addedIn(own));
  const missing = addedIn(grown).filter((token) => !known.has(token));
  return missing.length === 0 ? model : (await withAddedTokens(model, missing)).directory;
}

function addedIn(json: unknown): string[] {
  const added = isRecord(json) ? json['added_tokens'] : undefined;
  return Array.isArray(added)
    ? added.flatMap((entry: unknown) =>
        isRecord(entry) && typeof entry['content'] === 'string' ? [entry['content']] : [],
      )
    : [];
}

async function vocabularySize(directory: Directory): Promise<number> {
  const raw = await readJson(directory, FILE);
  return raw === undefined ? 0 : countVocabulary(await normalised(directory, raw));
}

/** The tokenizer.json of a directory with what tokenizer_config.json adds. */
async function normalised(directory: Directory, raw: unknown): Promise<TokenizerJson> {
  const settings = await readJson(directory, 'tokenizer_config.json');
  return normaliseTokenizerJson(raw, `${directory.name}/${FILE}`, isRecord(settings) ? settings : {});
}

/**
 * A model directory whose tokenizer has further tokens, each found in a text before anything else is, and the ids of
 * these. One that is there already keeps its id; new ones follow the vocabulary, as transformers' `add_tokens` has
 * them. They are compared with the text as it is written (`normalized: false`): a SentencePiece normalizer would have
 * them begin with its space mark, and so hide them within words.
 * @throws ConfigError without a tokenizer.json; FormatError for a broken one.
 */
export async function withAddedTokens(
  directory: Directory,
  tokens: readonly string[],
): Promise<{ directory: Directory; ids: readonly number[] }> {
  const raw = await readJson(directory, FILE);
  if (raw === undefined) throw new ConfigError(`adapter.added_tokens: ${directory.name} has no ${FILE}`);
  const json = await normalised(directory, raw);
  const { vocab } = json.model;
  const known = new Map(json.added_tokens.map(({ content, id }) => [content, id]));
  if (isRecord(vocab)) for (const [token, id] of Object.entries(vocab)) known.set(token, Number(id));
  if (Array.isArray(vocab))
    vocab.forEach((entry: unknown, id) => Array.isArray(entry) && known.set(String(entry[0]), id));
  let next = countVocabulary(json);
  const added: Record<string, unknown>[] = [];
  const ids = [...new Set(tokens)].map((content) => {
    const id = known.get(content) ?? next++;
    if (!known.has(content))
      added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false });
    return id;
  });
  const before = (raw as Record<string, unknown>)['added_tokens'] ?? [];
  if (!Array.isArray(before)) throw new FormatError(`${directory.name}/${FILE}: field "added_tokens" is not a list`);
  const text = JSON.stringify(
    { ...(raw as Record<string, unknown>), added_tokens: [...(before as unknown[]), ...added] },
    null,
    2,
  );
  return { directory: overlaid(directory, memoryDirectory(directory.name, { [FILE]: text })), ids };
}
