import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { IGNORED } from './encode.js';
import type { Example, ExampleList } from './examples.js';
import type { DataOptions } from './options.js';
import { describeGroup } from './problems.js';

/** Something about rows that is probably a mistake. */
export interface Finding {
  readonly kind:
    | 'unknown tokens'
    | 'marker in pieces'
    | 'calls not written'
    | 'doubled BOS'
    | 'no end token'
    | 'turn without end'
    | 'end not stopped at'
    | 'truncated'
    | 'duplicates'
    | 'in train too';
  readonly message: string;
  /** Rows that it is about. */
  readonly count: number;
  /** The first of them. */
  readonly rows: readonly { readonly source: string; readonly row: number }[];
}

export interface FindingOptions {
  readonly tokenizer: Tokenizer | undefined;
  /** Tokens at which the generation of this library ends. */
  readonly stopTokens: readonly number[];
  /** `eos_token_id` of the model's files, at which other libraries end; empty where they name none. */
  readonly modelStopTokens: readonly number[];
  /** A conversation as the chat template writes it; empty where there is none. */
  readonly written: string;
}

/** Rows that a finding names. */
const NAMED = 3;
/** Examples in whose text the markers of the template are looked for. */
const LOOKED_AT = 50;
const UNKNOWN_NAMES = ['<unk>', '[UNK]', '<|unk|>', 'UNK'];
/** What chat templates put around turns and their parts: `<|im_start|>`, `<start_of_turn>`, `</s>`. */
const MARKER = /<\|[^|<>\s{}]{1,40}\|>|<\/?[a-z_]{1,40}>/g;

/** Counts rows and keeps the first of them. */
class Rows {
  count = 0;
  readonly first: { source: string; row: number }[] = [];

  add({ source, row }: Pick<Example, 'source' | 'row'>): void {
    this.count++;
    if (this.first.length < NAMED) this.first.push({ source, row });
  }

  finding(kind: Finding['kind'], message: string): Finding[] {
    return this.count === 0 ? [] : [{ kind, message, count: this.count, rows: this.first }];
  }
}

/** What looks wrong with the rows of a data set, tokenised as they will be trained on. */
export function findProblems(examples: ExampleList, options: FindingOptions): Finding[] {
  const { tokenizer, stopTokens, modelStopTokens } = options;
  const bos = tokenizer?.bosTokenId;
  const unknown = UNKNOWN_NAMES.map((name) => tokenizer?.tokenToId(name)).find((id) => id !== undefined);
  const stops = new Set(stopTokens);
  const others = new Set(modelStopTokens);
  const name = (id: number): string => `${tokenizer?.idToToken(id) ?? 'token'} (id ${id})`;
  const [unknowns, doubled, endless, cut] = [new Rows(), new Rows(), new Rows(), new Rows()];
  const elsewhere = new Map<number, Rows>();
  let [unknownCount, around] = [0, ''];
  let endlessLast: number | undefined;
  const open = new Rows();
  let openLast: number | undefined;
  for (const example of examples) {
    const { inputIds, labels, truncated } = example;
    const first = unknown === undefined ? -1 : inputIds.indexOf(unknown);
    if (first >= 0) {
      unknowns.add(example);
      unknownCount += inputIds.filter((id) => id === unknown).length;
      if (around === '') around = tokenizer?.decode(inputIds.slice(Math.max(0, first - 4), first + 5)) ?? '';
    }
    if (bos !== undefined && inputIds[0] === bos && inputIds[1] === bos) doubled.add(example);
    const unended = stretchWithoutEnd(example, stops, tokenizer);
    if (unended !== undefined) {
      openLast ??= unended;
      open.add(example);
    }
    if (truncated === true) {
      cut.add(example);
      continue;
    }
    const last = inputIds.at(-1) as number;
    if (labels.at(-1) === IGNORED) continue;
    if (!stops.has(last)) {
      endlessLast ??= last;
      endless.add(example);
    } else if (others.size > 0 && !others.has(last)) {
      const rows = elsewhere.get(last) ?? new Rows();
      elsewhere.set(last, rows);
      rows.add(example);
    }
  }
  const ends = [...stops].map(name).join(', ');
  return [
    ...unknowns.finding(
      'unknown tokens',
      `${unknownCount} unknown tokens (${name(unknown ?? 0)}): the vocabulary cannot spell what stands there, as in ${JSON.stringify(around)}`,
    ),
    ...markersInPieces(examples, options),
    ...unwrittenCalls(examples),
    ...doubled.finding(
      'doubled BOS',
      `begin with two ${name(bos ?? 0)}: the text or the chat template writes one, and the tokenizer adds another`,
    ),
    ...endless.finding(
      'no end token',
      `end with no token at which generation stops (${ends === '' ? 'there is none' : ends}), but with ${name(endlessLast ?? 0)}: the model does not learn where an answer ends`,
    ),
    ...open.finding(
      'turn without end',
      `learn stretches before their last one that end with no token at which generation stops, but with ${name(openLast ?? 0)}: where these are answers, the model does not learn to end them`,
    ),
    ...[...elsewhere].flatMap(([id, rows]) =>
      rows.finding(
        'end not stopped at',
        `end with ${name(id)}, which is not among eos_token_id of the model (${modelStopTokens.map(name).join(', ')}): lowrank stops there, but transformers, vLLM and others do not unless they are told`,
      ),
    ),
    ...cut.finding('truncated', 'are truncated at max_length and lose their ends'),
    ...duplicates(examples),
  ];
}

/**
 * The last token of a learnt stretch, other than the last one, that ends with no stop; undefined where all do. White
 * space may follow a stop.
 */
function stretchWithoutEnd(
  { inputIds, labels }: Example,
  stops: ReadonlySet<number>,
  tokenizer: Tokenizer | undefined,
): number | undefined {
  const last = labels.findLastIndex((label) => label !== IGNORED);
  for (let i = 0; i < last; i++) {
    if (labels[i] === IGNORED || labels[i + 1] !== IGNORED) continue;
    let at = i;
    while (
      at > 0 &&
      labels[at] !== IGNORED &&
      !stops.has(inputIds[at] as number) &&
      tokenizer?.decode([inputIds[at] as number]).trim() === ''
    )
      at--;
    if (!stops.has(inputIds[at] as number)) return inputIds[i];
  }
  return undefined;
}

/** Examples of `examples` that are in `others` too, token by token. */
export function findShared(examples: ExampleList, others: ExampleList): Finding[] {
  const index = indexOf(others);
  const rows = new Rows();
  for (const example of examples) if (isIn(index, others, example)) rows.add(example);
  return rows.finding(
    'in train too',
    'are among the training rows too, token by token: what is measured on them is not what the model does with new rows',
  );
}

/** An exchange as the chat template writes it; empty without a template, and where it refuses this exchange. */
export function sampleChat(
  tokenizer: Tokenizer | undefined,
  { chat_template: template, chat_template_kwargs: variables }: DataOptions,
): string {
  const exchange = [
    { role: 'user', content: 'question' },
    { role: 'assistant', content: 'answer' },
  ];
  try {
    return tokenizer?.applyChatTemplate(exchange, { template, variables }) ?? '';
  } catch {
    return '';
  }
}

/** Conversations whose tool calls the chat template leaves out. */
export function unwrittenCalls(examples: ExampleList): Finding[] {
  const rows = new Rows();
  for (const example of examples) if (example.omitsCalls === true) rows.add(example);
  return rows.finding(
    'calls not written',
    'have tool_calls that the chat template does not write: nothing of them is learnt. Give data.chat_template one that writes them',
  );
}

/** Markers of a conversation, such as `<|im_end|>`, that are several tokens each. */
export function brokenMarkers(tokenizer: Tokenizer, written: string): { marker: string; pieces: number }[] {
  return [...new Set(written.match(MARKER))].flatMap((marker) => {
    const pieces = tokenizer.encode(marker, { addSpecialTokens: false }).length;
    return pieces > 1 ? [{ marker, pieces }] : [];
  });
}

/** Markers of the chat template that stand in the text of examples and are several tokens each. */
export function markersInPieces(
  examples: ExampleList,
  { tokenizer, written }: Pick<FindingOptions, 'tokenizer' | 'written'>,
): Finding[] {
  if (tokenizer === undefined || written === '') return [];
  const markers = brokenMarkers(tokenizer, written).map((found) => ({ ...found, rows: new Rows() }));
  if (markers.length === 0) return [];
  for (let i = 0; i < Math.min(LOOKED_AT, examples.length); i++) {
    const example = examples.at(i) as Example;
    const text = tokenizer.decode(example.inputIds);
    for (const { marker, rows } of markers) if (text.includes(marker)) rows.add(example);
  }
  const broken = markers.filter(({ rows }) => rows.count > 0);
  const [first] = broken;
  if (first === undefined) return [];
  const listed = broken.map(({ marker, pieces }) => `${marker} into ${pieces}`).join(', ');
  const message = `markers of the chat template are no tokens of this tokenizer and fall into pieces: ${listed}. Add them: adapter.added_tokens: [${broken.map(({ marker }) => JSON.stringify(marker)).join(', ')}]`;
  return first.rows.finding('marker in pieces', message).map((finding) => ({ ...finding, count: examples.length }));
}

function duplicates(examples: ExampleList): Finding[] {
  const seen = new Map<string, number>();
  const rows = new Rows();
  const repeated = new Set<number>();
  let i = 0;
  for (const example of examples) {
    const key = hashOf(example);
    const before = seen.get(key);
    if (before === undefined) seen.set(key, i);
    else if (same(examples.at(before), example)) {
      rows.add(example);
      repeated.add(before);
    }
    i++;
  }
  return rows.finding('duplicates', `repeat an earlier row token by token (${repeated.size} different ones)`);
}

function indexOf(examples: ExampleList): ReadonlyMap<string, number> {
  const index = new Map<string, number>();
  let i = 0;
  for (const example of examples) {
    const key = hashOf(example);
    if (!index.has(key)) index.set(key, i);
    i++;
  }
  return index;
}

function isIn(index: ReadonlyMap<string, number>, others: ExampleList, example: Example): boolean {
  const at = index.get(hashOf(example));
  return at !== undefined && same(others.at(at), example);
}

/** Two FNV-1a hashes of the tokens, each of 32 bits; those of one hash are compared besides. */
function hashOf({ inputIds }: Example): string {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (const id of inputIds) {
    a = Math.imul(a ^ id, 0x01000193);
    b = Math.imul(b ^ (id + 0x9e37), 0x85ebca6b);
  }
  return `${a >>> 0}.${b >>> 0}.${inputIds.length}`;
}

function same(a: Example | undefined, b: Example): boolean {
  return (
    a !== undefined &&
    a.inputIds.length === b.inputIds.length &&
    a.inputIds.every((id, i) => id === b.inputIds[i] && a.labels[i] === b.labels[i])
  );
}

/** A line for people. */
export function describeFinding({ message, count, rows }: Finding): string {
  const [source = '', ...others] = new Set(rows.map((row) => row.source));
  if (others.length === 0) return describeGroup({ source, message, count, rows: rows.map(({ row }) => row) });
  return `${count} rows (${rows.map((row) => `${row.source}, row ${row.row}`).join('; ')}${count > rows.length ? '; …' : ''}): ${message}`;
}
