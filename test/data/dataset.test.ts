import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import { loadDataset, loadTextRows, type LoadedDataset } from '../../src/data/dataset.js';
import type { Example } from '../../src/data/examples.js';
import { IGNORED } from '../../src/data/encode.js';
import type { DataOptions } from '../../src/data/options.js';
import { renderExample } from '../../src/data/show.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { memorySource } from '../../src/io/source.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { smallTokenizer } from '../tokenizer/fixture.js';

const EOS = 0;
const BOS = 3;
const END_OF_TURN = 2;
let tokenizer: Tokenizer;

beforeAll(async () => {
  tokenizer = await smallTokenizer();
});

const load = (rows: readonly unknown[], options: DataOptions = {}): Promise<LoadedDataset> =>
  loadDataset({ source: { name: 'rows', rows }, tokenizer, options });

async function shown(row: unknown, options: DataOptions = {}): Promise<string> {
  const { examples } = await load([row], options);
  return renderExample(examples.at(0) as Example, tokenizer);
}

describe('formats', () => {
  it('learns all of a text', async () => {
    expect(await shown({ text: 'the end' })).toBe('⟦<s>the end<|endoftext|>⟧');
  });

  it('learns a completion, and the prompt when told to', async () => {
    const row = { prompt: 'Q: a\nA:', completion: ' b' };
    expect(await shown(row)).toBe('<s>Q: a\nA:⟦ b<|endoftext|>⟧');
    expect(await shown(row, { train_on: 'all' })).toBe('⟦<s>Q: a\nA: b<|endoftext|>⟧');
  });

  it('writes the Alpaca prompt with and without input', async () => {
    const both = await shown({ instruction: 'Add.', input: '1 2', output: '3', text: 'ignored' });
    expect(both).toMatch(
      /^<s>Below is an instruction .*further context\. .*\n\n### Instruction:\nAdd\.\n\n### Input:\n1 2\n\n### Response:\n⟦3<\|endoftext\|>⟧$/,
    );
    const alone = await shown({ instruction: 'Add.', input: '', output: '3' });
    expect(alone).not.toContain('Input');
    expect(alone).toMatch(/request\.\n\n### Instruction:\nAdd\.\n\n### Response:\n⟦3/);
    expect(await shown({ instruction: 'Add.', input: null, output: '3' })).toBe(alone);
  });

  it('learns the turns of the assistant and ends with the token that closes them', async () => {
    const messages = [
      { role: 'system', content: 'S' },
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
      { role: 'user', content: 'three' },
      { role: 'assistant', content: 'four' },
      { role: 'user', content: 'unanswered' },
    ];
    const expected =
      '<|im_start|>system\nS<|im_end|>\n<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n⟦two<|im_end|>⟧\n' +
      '<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n⟦four<|im_end|>⟧';
    expect(await shown({ messages })).toBe(expected);
    expect(await shown({ messages: messages.slice(0, 5) })).toBe(expected);
    const { examples } = await load([{ messages }], { train_on: 'all' });
    expect(examples.at(0)?.labels).toEqual(examples.at(0)?.inputIds);
    // All that the template writes, the line break behind the last turn too.
    expect(tokenizer.decode(examples.at(0)?.inputIds ?? [])).toMatch(/unanswered<\|im_end\|>\n$/);
    expect(examples.at(0)?.inputIds.at(-2)).toBe(END_OF_TURN);
  });

  it('finds turns under templates that write prefixes differently or know no header', async () => {
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'a1' },
      { role: 'user', content: 'q2' },
      { role: 'assistant', content: ' a2 ' },
    ];
    const inst =
      "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ ' ' + m.content | trim + '<|endoftext|>' }}{% endif %}{% endfor %}";
    expect(await shown({ messages }, { chat_template: inst })).toBe(
      '[INST] q [/INST]⟦ a1<|endoftext|>⟧[INST] q2 [/INST]⟦ a2<|endoftext|>⟧',
    );
    // The last turn is marked, so no prefix is written as in the whole; and nothing closes a turn.
    const marked = "{% for m in messages %}{{ '\\n' + m.role + ('!' if loop.last else ':') + m.content }}{% endfor %}";
    expect(await shown({ messages }, { chat_template: marked })).toBe(
      '\nuser:q\nassistant:⟦a1⟧\nuser:q2\nassistant!⟦ a2 <|endoftext|>⟧',
    );
  });

  it('passes tools and template variables on', async () => {
    const template =
      "{{ tools[0] }}{{ date }}{% for m in messages %}{{ '<|im_start|>' + m.content + '<|im_end|>' }}{% endfor %}";
    const row = { messages: [{ role: 'assistant', content: 'a' }], tools: ['T'] };
    expect(await shown(row, { chat_template: template, chat_template_kwargs: { date: 'D' } })).toBe(
      'TD<|im_start|>⟦a<|im_end|>⟧',
    );
  });

  it('takes token ids as they are, without a tokenizer', async () => {
    const rows = [
      { input_ids: [5, 6, 7, 0, 0], labels: [-100, 6, 7, -100, -100], attention_mask: [1, 1, 1, 0, 0] },
      { input_ids: [5, 6] },
    ];
    const { examples, format, stats } = await loadDataset({ source: { name: 'rows', rows }, vocabSize: 8 });
    expect(format).toBe('tokens');
    expect([...examples].map((example) => [[...example.inputIds], [...example.labels]])).toEqual([
      [
        [5, 6, 7],
        [-100, 6, 7],
      ],
      [
        [5, 6],
        [5, 6],
      ],
    ]);
    expect(stats).toEqual({ rows: 2, tokens: 5, supervisedTokens: 3, truncated: 0, longest: 3 });
  });
});

describe('templates', () => {
  const row = { dialogue: 'A: hi', summary: 'A greets.', 'Best Answer': 'yes' };

  it('writes prompt and completion from any fields', async () => {
    const template = 'Summarise:\n{{dialogue}}\nSummary:';
    const expected = '<s>Summarise:\nA: hi\nSummary:⟦ A greets.<|endoftext|>⟧';
    expect(await shown(row, { template, completion_template: ' {{ summary }}' })).toBe(expected);
    expect(await shown({ ...row, summary: ' A greets.' }, { template, completion_field: 'summary' })).toBe(expected);
    expect(await shown(row, { prompt_field: 'dialogue', completion_field: 'summary' })).toBe(
      '<s>A: hi⟦A greets.<|endoftext|>⟧',
    );
    expect(await shown(row, { template: '{{ row["Best Answer"] }}' })).toBe('⟦<s>yes<|endoftext|>⟧');
    expect(await shown(row, { text_field: 'summary' })).toBe('⟦<s>A greets.<|endoftext|>⟧');
  });

  it('uses the completion a row already has', async () => {
    expect(await shown({ context: 'c', completion: 'd' }, { template: '{{ context }} ||' })).toBe(
      '<s>c ||⟦d<|endoftext|>⟧',
    );
    expect(await shown({ instruction: 'i', output: 'o' }, { template: '{{ instruction }}:' })).toBe(
      '<s>i:⟦o<|endoftext|>⟧',
    );
  });

  it('draws one of several by seed', async () => {
    const rows = Array.from({ length: 60 }, (_, i) => ({ x: `${i}`, completion: 'c' }));
    const options = { template: ['a {{ x }}', 'b {{ x }}', 'c {{ x }}'] };
    const prompts = async (seed: number): Promise<string[]> =>
      (await loadTextRows({ source: { name: 'rows', rows }, tokenizer, options: { ...options, seed } })).map((text) =>
        text.prompt.charAt(0),
      );
    const first = await prompts(1);
    expect(await prompts(1)).toEqual(first);
    expect(await prompts(2)).not.toEqual(first);
    for (const letter of ['a', 'b', 'c']) expect(first.filter((each) => each === letter).length).toBeGreaterThan(8);
  });

  it('names template and row when one fails', async () => {
    const rows = [
      { x: 'fine', completion: 'c' },
      { x: 'bad', completion: 'c' },
      { completion: 'c' },
      { x: null, completion: 'c' },
    ];
    const template = "{{ x }}{% if x == 'bad' %}{{ raise_exception('no bad') }}{% endif %}";
    const loading = load(rows, { template });
    await expect(loading).rejects.toThrow(DataError);
    await expect(loading).rejects.toThrow(
      /3 bad rows[^]*row 2: template: no bad[^]*row 3: template needs "x" \(found nothing\)[^]*row 4: .*found null/,
    );
  });
});

describe('spans', () => {
  it('a token that reaches over the start of a completion belongs to the prompt', async () => {
    const { examples } = await load([{ prompt: 'to ', completion: 'the' }]);
    expect(renderExample(examples.at(0) as Example, tokenizer)).toBe('<s>to the⟦<|endoftext|>⟧');
  });

  it('a completion begins behind as many tokens as its prompt has by itself', () => {
    const words = fc.string({
      unit: fc.constantFrom('t', 'h', 'e', 'l', 'a', 'n', 'b', 'r', ' ', 'é', '😀'),
      maxLength: 12,
    });
    return fc.assert(
      fc.asyncProperty(
        words,
        words.filter((text) => text.trim() !== ''),
        async (prompt, completion) => {
          const { examples } = await load([{ prompt, completion }]);
          const { inputIds, labels } = examples.at(0) as Example;
          expect([...inputIds]).toEqual([...tokenizer.encode(prompt + completion), EOS]);
          const start = Math.min(tokenizer.encode(prompt).length, inputIds.length - 1);
          expect([...labels]).toEqual([...inputIds].map((id, i) => (i < start ? IGNORED : id)));
          expect(inputIds[0]).toBe(BOS);
        },
      ),
    );
  });

  it('adds no second EOS where the text brings it', async () => {
    const { examples } = await load([{ prompt: 'x', completion: 'y<|endoftext|>' }]);
    expect(renderExample(examples.at(0) as Example, tokenizer)).toBe('<s>x⟦y<|endoftext|>⟧');
  });
});

describe('lengths', () => {
  it('cuts on the right and counts', async () => {
    const { examples, stats, dropped } = await load(
      [
        { prompt: 'xxxxxx', completion: 'y' },
        { prompt: 'x', completion: 'yyyyyyyy' },
        { prompt: 'x', completion: 'y' },
        { prompt: 'x', completion: ' \n' },
      ],
      { max_length: 5 },
    );
    expect([...examples].map((example) => [example.row, example.inputIds.length, example.truncated])).toEqual([
      [2, 5, true],
      [3, 4, false],
    ]);
    expect(stats).toEqual({ rows: 2, tokens: 9, supervisedTokens: 5, truncated: 1, longest: 5 });
    expect(dropped).toEqual([
      { source: 'rows', row: 1, reason: 'nothing to learn within max_length 5' },
      { source: 'rows', row: 4, reason: 'the completion is empty' },
    ]);
  });

  it('throws when nothing is left', async () => {
    const loading = load(
      [
        { prompt: 'xxxxxx', completion: 'y' },
        { prompt: 'x', completion: '' },
      ],
      { max_length: 3 },
    );
    await expect(loading).rejects.toThrow(DataError);
    await expect(loading).rejects.toThrow(
      /2 left out[^]*row 1: nothing to learn within max_length 3[^]*row 2: the completion is empty/,
    );
    await expect(load([{ messages: [{ role: 'user', content: 'x' }] }])).rejects.toThrow('no answer of the assistant');
    await expect(loadDataset({ source: { name: 'ids', rows: [{ input_ids: [4], labels: [4] }] } })).rejects.toThrow(
      'nothing to learn',
    );
  });
});

describe('bad rows', () => {
  it.each([
    [{ input_ids: [1, 9], labels: [1] }, '"labels" has 1 entries'],
    [{ input_ids: [1, 9] }, 'token id 9 at 1 is outside of the vocabulary of 8'],
    [{ input_ids: [1, -1] }, 'input_ids[1] is -1'],
    [{ input_ids: [1, 2.5] }, 'must be a list of integers, found 2.5 at 1'],
    [{ input_ids: 'no' }, 'must be a list of integers, found a string'],
    [{ input_ids: [1, 2], labels: [1, -2] }, 'label -2 at 1'],
    [{ input_ids: [1, 2, 3], attention_mask: [0, 1, 1] }, 'attention_mask[0] is 0'],
    [{ input_ids: [1, 2, 3], attention_mask: [1, 0, 1] }, 'attention_mask[1] is 0'],
    [{ input_ids: [1, 2, 3], attention_mask: [1, 2, 0] }, 'attention_mask[1] is 2'],
    [{ input_ids: [1, 2, 3], attention_mask: [1] }, '"attention_mask" has 1 entries'],
    [{ text: 3 }, 'field "text" must be a string, found a number'],
    [{ prompt: 'a', completion: null }, 'field "completion" must be a string, found null'],
    [{ instruction: 'a', output: 'b', input: 7 }, 'field "input" must be a string, found a number'],
    [{ messages: 'no' }, 'field "messages" must be a list, found a string'],
    [{ messages: [] }, 'empty list'],
    [{ messages: [{ role: 'user' }] }, 'messages[0]: "content" must be a string, found nothing'],
    [{ messages: [{ content: 'x' }] }, 'messages[0]: "role" must be a string'],
    [{ question: 'a' }, 'no known format: the row has "question"'],
  ])('%j', async (row, told) => {
    const loading = loadDataset({ source: { name: 'rows', rows: [row] }, tokenizer, vocabSize: 8 });
    await expect(loading).rejects.toThrow(DataError);
    await expect(loading).rejects.toThrow(told);
    await expect(loading).rejects.toThrow('row 1');
  });

  it('names all of a file together, bad lines among them', async () => {
    const text = '{"text":"a"}\n{"prompt":"b","completion":"c"}\nnot json\n{"text":4}\n{"other":1}\n';
    const loading = loadDataset({ source: memorySource('train.jsonl', new TextEncoder().encode(text)), tokenizer });
    await expect(loading).rejects.toThrow(/^4 bad rows:/);
    await expect(loading).rejects.toThrow('train.jsonl, line 2: mixed formats: this row is completion, line 1 is text');
    await expect(loading).rejects.toThrow('line 3: invalid JSON');
    await expect(loading).rejects.toThrow('line 4: field "text" must be a string');
    await expect(loading).rejects.toThrow('line 5: field "text" is missing (the row has "other")');
  });

  it('checks text against the vocabulary of the model', async () => {
    const loading = loadDataset({ source: { name: 'rows', rows: [{ text: 'the' }] }, tokenizer, vocabSize: 100 });
    await expect(loading).rejects.toThrow('outside of the vocabulary of 100');
  });

  it('wants rows of a given format', async () => {
    await expect(load([{ prompt: 'a', completion: 'b' }], { format: 'text' })).rejects.toThrow(
      'field "text" is missing',
    );
    await expect(load([], {})).rejects.toThrow('there are no rows');
    const noTokenizer = loadDataset({ source: { name: 'rows', rows: [{ text: 'a' }] } });
    await expect(noTokenizer).rejects.toThrow(ConfigError);
  });

  it.each([
    [{ template: [] }, 'the list is empty'],
    [{ template: ['{{ a }}', 'nothing'] }, 'template 2 of 2 writes no field'],
    [{ template: '{{ a }', completion_field: 'b' }, 'template does not parse'],
    [{ template: '{{ a }}', prompt_field: 'a' }, 'template and prompt_field'],
    [{ completion_template: '{{ a }}', completion_field: 'a' }, 'completion_template and completion_field'],
    [{ format: 'tokens', template: '{{ a }}' }, 'format tokens takes neither'],
    [{ completion_field: 'a' }, 'no prompt'],
    [{ prompt_field: 'a' }, 'nothing says what the completion is'],
    [{ max_length: 1 }, 'max_length'],
    [{ validation_split: 1.5 }, 'validation_split'],
  ] as [DataOptions, string][])('options %j', async (options, told) => {
    await expect(load([{ text: 'a', a: 'b' }], options)).rejects.toThrow(ConfigError);
    await expect(load([{ text: 'a', a: 'b' }], options)).rejects.toThrow(told);
  });
});
