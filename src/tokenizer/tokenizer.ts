import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';

import { FormatError } from '../errors.js';
import { readJson, type Directory } from '../io/directory.js';
import { isRecord } from '../io/json.js';
import { ChatTemplateRenderer, type ChatMessage, type ChatTemplateOptions, type TracedChat } from './chat-template.js';
import { ExpressionLimit } from './expression-limit.js';
import { modelChatTemplate } from './model-chat-template.js';
import { withBosFlags } from './post-processor.js';
import { TokenPlacer, type PlacedTokens } from './placed-tokens.js';
import { configTokenId, libraryConfig, readSpecialTokens, type SpecialTokens } from './special-tokens.js';
import { countVocabulary, normaliseTokenizerJson, type JsonObject, type TokenizerJson } from './tokenizer-json.js';

export interface EncodeOptions {
  /** Let the post-processor add what it adds (a BOS token in most decoders). Default true. */
  readonly addSpecialTokens?: boolean | undefined;
}

export interface EncodePlacedOptions extends EncodeOptions {
  /** Encode no further than needed to have more tokens than these. Default: all. */
  readonly maxTokens?: number | undefined;
}

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default false. */
  readonly skipSpecialTokens?: boolean | undefined;
}

/** What training and generation need of a tokenizer. */
export interface Tokenizer {
  /** Token ids of a text, by default with the special tokens that the post-processor adds. */
  encode(text: string, options?: EncodeOptions): number[];
  /** With special tokens, but a text that begins with the BOS token gets no second one. */
  encodeText(text: string): number[];
  /** The tokens of encodeText or, without special tokens, of encode, and where in the text they stand. */
  encodePlaced(text: string, options?: EncodePlacedOptions): PlacedTokens;
  /** The text of token ids, special tokens included unless the options leave them out. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** Whether a text begins with the BOS token that would be put before it; it gets one. */
  bringsBos(text: string): boolean;
  /** Whether an id is that of a special token (end of turn, padding, …). */
  isSpecial(id: number): boolean;
  /** Largest token id plus one. */
  readonly vocabSize: number;
  readonly bosTokenId?: number | undefined;
  readonly eosTokenId?: number | undefined;
  readonly padTokenId?: number | undefined;
  /**
   * All of `eos_token_id` in the model's files: what its generation stops at (GLM's at the header of the next turn).
   */
  readonly modelEosIds?: readonly number[];
  /** The token with which the tokenizer's chat template closes an assistant turn. */
  readonly endOfTurnId?: number | undefined;
  readonly chatTemplate?: string | undefined;
  /** The id of a token, spelled as in the vocabulary; undefined where there is none. */
  tokenToId(token: string): number | undefined;
  /** The token of an id, spelled as in the vocabulary; undefined where there is none. */
  idToToken(id: number): string | undefined;
  /** @throws ConfigError without a template; DataError when the template refuses the messages. */
  applyChatTemplate(messages: readonly ChatMessage[], options?: ChatTemplateOptions): string;
  /**
   * The same, with the parts of the text: which message has written what, and what the template marks as learnt.
   * @throws as applyChatTemplate.
   */
  traceChatTemplate(messages: readonly ChatMessage[], options?: ChatTemplateOptions): TracedChat;
  /**
   * The token with which a chat template (default: the own one) closes an assistant turn; the EOS token where it closes
   * with nothing special. `variables` are those of applyChatTemplate.
   */
  endOfTurn(template?: string, variables?: Readonly<Record<string, unknown>>): number | undefined;
}

export interface TokenizerOptions {
  /** Variables that every conversation is written with, unless it brings its own. */
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
}

/** Files that make up a tokenizer: copy those that exist beside an exported model or adapter. */
export const TOKENIZER_FILES: readonly string[] = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
];

/**
 * Loads the tokenizer of a Hugging Face model directory. The end-of-text and start-of-text tokens come from
 * tokenizer_config.json, else special_tokens_map.json, else the ids in generation_config.json or config.json; the chat
 * template from chat_template.jinja, else tokenizer_config.json.
 * @returns undefined when there is no tokenizer.json.
 * @throws FormatError naming the file and field of a malformed file.
 */
export async function loadTokenizer(
  directory: Directory,
  { chatTemplateKwargs = {} }: TokenizerOptions = {},
): Promise<Tokenizer | undefined> {
  const file = `${directory.name}/tokenizer.json`;
  const raw = await readJson(directory, 'tokenizer.json');
  if (raw === undefined) return undefined;
  const config = await readObject(directory, 'tokenizer_config.json');
  const map = await readObject(directory, 'special_tokens_map.json');
  const ids = {
    ...(await readObject(directory, 'config.json')),
    ...(await readObject(directory, 'generation_config.json')),
  };
  const chatTemplate = await modelChatTemplate(directory);
  const json = normaliseTokenizerJson(raw, file, config);
  const tokens = readSpecialTokens(config, map);
  return new HubTokenizer(withBosFlags(json, config, tokens), {
    file,
    config,
    tokens,
    ids,
    chatTemplate,
    chatTemplateKwargs,
  });
}

interface Parts {
  readonly file: string;
  readonly config: JsonObject;
  readonly tokens: SpecialTokens;
  readonly ids: JsonObject;
  readonly chatTemplate: string | undefined;
  readonly chatTemplateKwargs: Readonly<Record<string, unknown>>;
}

class HubTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly modelEosIds: readonly number[];
  readonly chatTemplate: string | undefined;
  private readonly library: LibraryTokenizer;
  private readonly limit: ExpressionLimit;
  private readonly chat: ChatTemplateRenderer;
  private readonly specialIds: ReadonlySet<number>;
  private readonly turnEnds = new Map<string, number>();
  private readonly placer: TokenPlacer;
  private readonly bosToken: string | undefined;
  private addedAround: Frame | undefined;

  constructor(json: TokenizerJson, parts: Parts) {
    const { file, config, tokens, ids } = parts;
    try {
      this.library = new LibraryTokenizer(json, libraryConfig(config, tokens));
    } catch (error) {
      throw new FormatError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
    forgetUnnormalised(this.library, json);
    this.limit = new ExpressionLimit(json, file);
    this.vocabSize = countVocabulary(json);
    const idOf = (name: 'bos_token' | 'eos_token' | 'pad_token'): number | undefined => {
      const token = tokens[name];
      if (token !== undefined) return this.tokenToId(token);
      if (config[name] === null) return undefined; // said to be none, whatever the model's config.json holds
      const id = configTokenId(ids, `${name}_id`);
      return id !== undefined && id < this.vocabSize ? id : undefined;
    };
    this.bosTokenId = idOf('bos_token');
    this.eosTokenId = idOf('eos_token');
    this.padTokenId = idOf('pad_token');
    this.modelEosIds = [ids['eos_token_id']]
      .flat()
      .filter((id): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < this.vocabSize);
    this.chatTemplate = parts.chatTemplate;
    this.specialIds = new Set(json.added_tokens.filter((token) => token['special'] === true).map((token) => token.id));
    const named: SpecialTokens = { ...tokens };
    // A directory without tokenizer_config.json still has its ids; templates speak of the tokens by name.
    if (named.eos_token === undefined && this.eosTokenId !== undefined)
      named.eos_token = this.idToToken(this.eosTokenId) ?? '';
    if (named.bos_token === undefined && this.bosTokenId !== undefined)
      named.bos_token = this.idToToken(this.bosTokenId) ?? '';
    this.placer = new TokenPlacer(json, this.library, this.limit);
    this.bosToken = this.bosTokenId === undefined ? undefined : this.idToToken(this.bosTokenId);
    this.chat = new ChatTemplateRenderer({ ...named, ...parts.chatTemplateKwargs }, parts.chatTemplate, file);
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const { ids } = this.limit.run(text.length, () =>
      this.library.encode(text, { add_special_tokens: options.addSpecialTokens ?? true }),
    );
    // A vocabulary without an unknown token drops what it cannot spell; the library leaves holes there.
    return (ids as (number | undefined)[]).filter((id) => id !== undefined);
  }

  encodeText(text: string): number[] {
    const ids = this.encode(text);
    return this.bringsBos(text) && ids[0] === this.bosTokenId && ids[1] === this.bosTokenId ? ids.slice(1) : ids;
  }

  encodePlaced(
    text: string,
    { addSpecialTokens = true, maxTokens = Infinity }: EncodePlacedOptions = {},
  ): PlacedTokens {
    const { front, back } = addSpecialTokens ? this.frame : { front: [], back: [] };
    const before = this.bringsBos(text) && front.at(-1) === this.bosTokenId ? front.slice(0, -1) : front;
    const placed = this.placer.place(text, maxTokens - before.length);
    const ids = [...before, ...placed.ids, ...(placed.characters === text.length ? back : [])];
    return {
      ids,
      characters: placed.characters,
      tokenAt: (character) => {
        const token = placed.tokenAt(character);
        return token === undefined ? undefined : token + before.length;
      },
    };
  }

  isSpecial(id: number): boolean {
    return this.specialIds.has(id);
  }

  bringsBos(text: string): boolean {
    return this.bosToken !== undefined && text.startsWith(this.bosToken) && this.frame.front.at(-1) === this.bosTokenId;
  }

  /** What the post-processor adds to a text. */
  private get frame(): Frame {
    return (this.addedAround ??= findFrame(this.library));
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const list = Array.from(ids);
    if (list.length === 0) return '';
    return this.limit.run(list.length, () =>
      this.library.decode(list, { skip_special_tokens: options.skipSpecialTokens ?? false }),
    );
  }

  tokenToId(token: string): number | undefined {
    return this.library.token_to_id(token);
  }

  idToToken(id: number): string | undefined {
    return this.library.id_to_token(id);
  }

  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    return this.chat.render(messages, options);
  }

  traceChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): TracedChat {
    return this.chat.trace(messages, options);
  }

  get endOfTurnId(): number | undefined {
    return this.endOfTurn();
  }

  endOfTurn(template = this.chatTemplate, variables: Readonly<Record<string, unknown>> = {}): number | undefined {
    if (template === undefined) return this.eosTokenId;
    let id = this.turnEnds.get(template);
    if (id === undefined) {
      id = this.findEndOfTurn(template, variables) ?? this.eosTokenId;
      if (id !== undefined) this.turnEnds.set(template, id);
    }
    return id;
  }

  /** Writes one exchange and takes the first special token after the answer. */
  private findEndOfTurn(template: string, variables: Readonly<Record<string, unknown>>): number | undefined {
    const answer = 'lowrank-answer';
    const exchange = [
      { role: 'user', content: 'question' },
      { role: 'assistant', content: answer },
    ];
    let text: string;
    try {
      text = this.applyChatTemplate(exchange, { template, variables });
    } catch {
      return undefined; // a template that refuses this exchange is judged on real rows
    }
    const at = text.lastIndexOf(answer);
    if (at < 0) return undefined;
    return this.encode(text.slice(at + answer.length), { addSpecialTokens: false }).find((id) =>
      this.specialIds.has(id),
    );
  }
}

/**
 * Added tokens that are compared with the normalised text are found by their normalised spelling alone, as in the native
 * library. The JavaScript one also takes a piece between two of them for a token that is spelt as one is written.
 */
function forgetUnnormalised(library: LibraryTokenizer, json: TokenizerJson): void {
  const { added_tokens_map: tokens, normalizer } = library as unknown as {
    readonly added_tokens_map: Map<string, unknown>;
    readonly normalizer: ((text: string) => string) | null;
  };
  if (normalizer === null) return;
  for (const token of json.added_tokens) {
    const normalized = token['normalized'] ?? token['special'] !== true;
    if (normalized === true && normalizer(token.content) !== token.content) tokens.delete(token.content);
  }
}

interface Frame {
  readonly front: readonly number[];
  readonly back: readonly number[];
}

function findFrame(library: LibraryTokenizer): Frame {
  const bare = library.encode('a', { add_special_tokens: false }).ids as number[];
  const all = library.encode('a', { add_special_tokens: true }).ids as number[];
  const start = all.findIndex((_, at) => bare.every((id, i) => all[at + i] === id));
  return { front: all.slice(0, Math.max(0, start)), back: start < 0 ? [] : all.slice(start + bare.length) };
}

async function readObject(directory: Directory, path: string): Promise<JsonObject> {
  const value = await readJson(directory, path);
  if (value === undefined) return {};
  if (!isRecord(value)) throw new FormatError(`${directory.name}/${path}: expected an object`);
  return value;
}
