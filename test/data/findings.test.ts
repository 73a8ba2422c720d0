import { describe, expect, it } from 'vitest';
import { loadDataset } from '../../src/data/dataset.js';
import {
  describeFinding,
  findProblems,
  findShared,
  type Finding,
  type FindingOptions,
} from '../../src/data/findings.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { smallTokenizer } from '../tokenizer/fixture.js';

const rowsOf = async (
  ids: readonly number[][],
  options = {},
): Promise<Awaited<ReturnType<typeof loadDataset>>['examples']> =>
  (await loadDataset({ source: { name: 'rows', rows: ids.map((input_ids) => ({ input_ids })) }, options })).examples;

/** Findings by kind, the stops being 0 for the library and for the model's files unless given. */
async function find(
  ids: readonly number[][],
  options: Partial<FindingOptions> & { data?: object } = {},
): Promise<Record<string, Finding>> {
  const { data, ...given } = options;
  const found = findProblems(await rowsOf(ids, data), {
    tokenizer: undefined,
    stopTokens: [0],
    modelStopTokens: [0],
    written: '',
    ...given,
  });
  return Object.fromEntries(found.map((finding) => [finding.kind, finding]));
}

/** Of the fixture: 0 `<|endoftext|>`, 1 `<|im_start|>`, 2 `<|im_end|>`, 3 `<s>`. */
const withUnknown = async (): Promise<Tokenizer> => {
  const tokenizer = await smallTokenizer();
  return new Proxy(tokenizer, {
    get: (target, key) =>
      key === 'tokenToId'
        ? (token: string) => (token === '<unk>' ? 7 : target.tokenToId(token))
        : (Reflect.get(target, key) as unknown),
  });
};

describe('what looks wrong', () => {
  it('is nothing in rows that are in order', async () => {
    expect(
      await find(
        [
          [3, 10, 11, 0],
          [3, 12, 0],
        ],
        { tokenizer: await smallTokenizer() },
      ),
    ).toEqual({});
  });

  it('is an end that is missing, or that is not stopped at', async () => {
    const tokenizer = await smallTokenizer();
    const found = await find(
      [
        [5, 0],
        [5, 6],
        [7, 6],
        [5, 2],
        [9, 2],
      ],
      { tokenizer, stopTokens: [0, 2] },
    );
    expect(found['no end token']).toMatchObject({ count: 2, rows: [{ source: 'rows', row: 2 }, { row: 3 }] });
    expect(found['no end token']?.message).toContain(
      'end with no token at which generation stops (<|endoftext|> (id 0), <|im_end|> (id 2)), but with ',
    );
    expect(found['end not stopped at']).toMatchObject({ count: 2, rows: [{ row: 4 }, { row: 5 }] });
    expect(found['end not stopped at']?.message).toContain(
      'end with <|im_end|> (id 2), which is not among eos_token_id of the model (<|endoftext|> (id 0))',
    );
    expect(await find([[5, 2]], { stopTokens: [0, 2], modelStopTokens: [] })).toEqual({});
  });

  it('is a doubled BOS and a row that is cut', async () => {
    const found = await find(
      [
        [3, 3, 5, 0],
        [3, 5, 3, 0],
        [3, 5, 6, 7, 8],
      ],
      { tokenizer: await smallTokenizer(), data: { max_length: 4 } },
    );
    expect(Object.keys(found)).toEqual(['doubled BOS', 'truncated']);
    expect(found['doubled BOS']).toMatchObject({ count: 1, rows: [{ row: 1 }] });
    expect(found['truncated']).toMatchObject({ count: 1, rows: [{ row: 3 }] });
  });

  it('are unknown tokens, with what stands around them', async () => {
    const tokenizer = await withUnknown();
    const { 'unknown tokens': found } = await find(
      [
        [5, 0],
        [7, 5, 7, 0],
      ],
      { tokenizer },
    );
    expect(found).toMatchObject({ count: 1, rows: [{ row: 2 }] });
    expect(found?.message).toContain('2 unknown tokens');
  });

  it('are calls that the chat template does not write', async () => {
    const tokenizer = await smallTokenizer();
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'a', tool_calls: [{ type: 'function', function: { name: 'f', arguments: {} } }] },
    ];
    const { examples } = await loadDataset({
      source: {
        name: 'rows',
        rows: [{ messages }, { messages: messages.map(({ role, content }) => ({ role, content: `${content}.` })) }],
      },
      tokenizer,
    });
    const [found] = findProblems(examples, { tokenizer, stopTokens: [2], modelStopTokens: [], written: '' });
    expect(found).toMatchObject({ kind: 'calls not written', count: 1, rows: [{ row: 1 }] });
    expect(describeFinding(found as Finding)).toContain(
      'rows, row 1: have tool_calls that the chat template does not write',
    );
  });

  it('are rows that repeat, in the set and in another', async () => {
    const examples = await rowsOf([
      [5, 0],
      [6, 0],
      [5, 0],
      [5, 0],
      [6, 0],
      [8, 0],
    ]);
    const [found] = findProblems(examples, { tokenizer: undefined, stopTokens: [0], modelStopTokens: [], written: '' });
    expect(found).toMatchObject({ kind: 'duplicates', count: 3, rows: [{ row: 3 }, { row: 4 }, { row: 5 }] });
    expect(describeFinding(found as Finding)).toBe(
      'rows, 3 rows (rows 3, 4, 5): repeat an earlier row token by token (2 different ones)',
    );
    expect(
      findShared(
        await rowsOf([
          [5, 0],
          [9, 0],
          [0, 5],
        ]),
        examples,
      ),
    ).toMatchObject([{ kind: 'in train too', count: 1, rows: [{ row: 1 }] }]);
    expect(findShared(await rowsOf([[9, 0]]), examples)).toEqual([]);
  });

  it('are markers of the chat template that are no tokens', async () => {
    const tokenizer = await smallTokenizer();
    const rows = [
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
        ],
      },
    ];
    for (const [name, count] of [
      ['chatml', 0],
      ['gemma', 1],
    ] as const) {
      const { examples } = await loadDataset({
        source: { name: 'rows', rows },
        tokenizer,
        options: { chat_template: name },
      });
      const template = name === 'gemma' ? '<start_of_turn><end_of_turn><unused>' : '<|im_start|><|im_end|>';
      const found = findProblems(examples, {
        tokenizer,
        stopTokens: [0, 2],
        modelStopTokens: [],
        written: template,
      }).filter(({ kind }) => kind === 'marker in pieces');
      expect(found).toHaveLength(count);
      if (count > 0)
        expect(found[0]?.message).toMatch(
          /<start_of_turn> into \d+, <end_of_turn> into \d+\. Add them: adapter\.added_tokens: \["<start_of_turn>", "<end_of_turn>"\]$/,
        );
    }
  });
});
