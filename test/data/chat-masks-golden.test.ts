import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { encodeRow, IGNORED } from '../../src/data/encode.js';
import { planRows } from '../../src/data/plan.js';
import { renderRow } from '../../src/data/render.js';
import { parseJsonExactly } from '../../src/io/json-numbers.js';
import { localDirectory } from '../../src/io/node.js';
import { Random } from '../../src/random.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';

interface Golden {
  readonly templates: Readonly<Record<string, string>>;
  readonly conversations: readonly Record<string, unknown>[];
  readonly cases: readonly {
    readonly template: string;
    readonly conversation: number;
    readonly input_ids: readonly number[];
    readonly mask: string;
  }[];
}

it("learns the tokens of transformers' assistant masks", async () => {
  const golden = parseJsonExactly(readFileSync('test/golden/chat-masks/masks.json', 'utf8')) as Golden;
  const tokenizer = (await loadTokenizer(localDirectory('configs/quickstart/base'))) as Tokenizer;
  for (const { template, conversation, input_ids: expectedIds, mask } of golden.cases) {
    const row = golden.conversations[conversation] as Record<string, unknown>;
    const options = { chat_template: golden.templates[template] };
    const outcome = renderRow(row, {
      plan: planRows(options, row, 'row'),
      options,
      tokenizer,
      draw: new Random(0, ''),
    });
    const { ids, labels } =
      'rendered' in outcome
        ? encodeRow(outcome.rendered, tokenizer, { trainOn: 'completion' })
        : { ids: [], labels: [] };
    const name = `${template}, conversation ${conversation}`;
    // What follows the last learnt token may be left off, and an end that the template lacks is added.
    const length = Math.min(ids.length, expectedIds.length);
    expect(ids.slice(0, length), name).toEqual(expectedIds.slice(0, length));
    expect(expectedIds.map((_, i) => (i < length && labels[i] !== IGNORED ? '1' : '0')).join(''), name).toBe(mask);
    expect(
      labels.slice(expectedIds.length).every((label) => label === tokenizer.eosTokenId),
      name,
    ).toBe(true);
  }
  expect(golden.cases).toHaveLength(42);
}, 120_000);
