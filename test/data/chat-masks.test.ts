import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { encodeRow, IGNORED } from '../../src/data/encode.js';
import { planRows } from '../../src/data/plan.js';
import { renderRow } from '../../src/data/render.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { Random } from '../../src/random.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { useRecordedDate } from '../support/recorded-date.js';

const FOLDER = new URL('../../../shared/reference/chat-masks/', import.meta.url);
const TOKENIZERS = new URL('../../../shared/tokenizers/', import.meta.url);
const HERE = process.env['LOWRANK_REFERENCES'] !== 'none' && existsSync(new URL('masks.json', FOLDER));

interface Case {
  readonly template: string;
  readonly tokenizer: string;
  readonly conversation: number;
  readonly error?: string;
  readonly input_ids?: readonly number[];
  readonly mask: readonly number[];
}

interface Masks {
  readonly conversations: readonly Record<string, unknown>[];
  readonly cases: readonly Case[];
}

const SPECIAL: Readonly<Record<string, object>> = {
  smollm: { bos_token: '<|im_start|>', eos_token: '<|im_end|>', pad_token: '<|endoftext|>' },
  'qwen2.5': { bos_token: '<|endoftext|>', eos_token: '<|im_end|>', pad_token: '<|endoftext|>' },
};

async function openTokenizer(name: string, file: string): Promise<Tokenizer> {
  const files = {
    'tokenizer.json': readFileSync(new URL(`${name}/${file}`, TOKENIZERS), 'utf8'),
    'tokenizer_config.json': JSON.stringify(SPECIAL[name]),
  };
  return (await loadTokenizer(memoryDirectory(name, files))) as Tokenizer;
}

describe.skipIf(!HERE)("transformers' assistant masks (needs ../shared)", () => {
  let masks: Masks;
  let tokenizers: Readonly<Record<string, Tokenizer>>;

  beforeAll(async () => {
    masks = JSON.parse(readFileSync(new URL('masks.json', FOLDER), 'utf8')) as Masks;
    tokenizers = {
      smollm: await openTokenizer('smollm', 'tokenizer.json'),
      'qwen2.5': await openTokenizer('qwen2.5', 'tokenizer.rebuilt.json'),
    };
  }, 120_000);

  afterEach(() => vi.useRealTimers());

  function encode(entry: Case, suffix: string): ReturnType<typeof encodeRow> | undefined {
    const tokenizer = tokenizers[entry.tokenizer] as Tokenizer;
    const row = masks.conversations[entry.conversation] as Record<string, unknown>;
    const options = {
      chat_template: readFileSync(new URL(`templates/${entry.template}${suffix}.jinja`, FOLDER), 'utf8'),
    };
    useRecordedDate(tokenizer.decode(entry.input_ids ?? []));
    const outcome = renderRow(row, {
      plan: planRows(options, row, 'row 1'),
      options,
      tokenizer,
      draw: new Random(0, ''),
    });
    return 'rendered' in outcome ? encodeRow(outcome.rendered, tokenizer, { trainOn: 'completion' }) : undefined;
  }

  it('are those of templates with marks', { timeout: 300_000 }, () => {
    const wrong: string[] = [];
    for (const entry of masks.cases) {
      const name = `${entry.template}, ${entry.tokenizer}, conversation ${entry.conversation}`;
      const encoded = encode(entry, '_training');
      if (entry.error !== undefined) {
        if (encoded !== undefined) wrong.push(`${name}: transformers refuses it`);
        continue;
      }
      const { ids, labels } = encoded ?? { ids: [], labels: [] };
      const { input_ids: expectedIds = [] } = entry;
      const length = Math.min(ids.length, expectedIds.length);
      const sameIds = ids.slice(0, length).join() === expectedIds.slice(0, length).join();
      const mask = expectedIds.map((_, i) => (i < length && labels[i] !== IGNORED ? 1 : 0));
      if (!sameIds || mask.join() !== entry.mask.join()) wrong.push(name);
    }
    expect(wrong).toEqual([]);
    expect(masks.cases.length).toBeGreaterThan(200);
  });
});
