import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readConversation } from '../../src/data/conversations.js';
import { loadDataset, loadTextRows, openDataset } from '../../src/data/dataset.js';
import type { ConversationFormat, DataOptions } from '../../src/data/options.js';
import type { JsonRow } from '../../src/data/row.js';
import { renderExample } from '../../src/data/show.js';
import { DataError } from '../../src/errors.js';
import { memorySource } from '../../src/io/source.js';
import { fileSource } from '../../src/io/node.js';
import { smallTokenizer } from '../tokenizer/fixture.js';
import { SHARED } from '../support/goldens.js';

const CASES = `${SHARED}/cases/chat`;

const messagesOf = (row: JsonRow, format: ConversationFormat, writesCalls = false): unknown => {
  const read = readConversation(row, format, writesCalls);
  return 'problem' in read ? read.problem : read.value['messages'];
};

/** The examples of rows with what is learnt in brackets; the template is ChatML unless given. */
async function learnt(rows: readonly unknown[], options: DataOptions = {}): Promise<string[]> {
  const tokenizer = await smallTokenizer();
  const { examples } = await loadDataset({ source: { name: 'rows', rows }, tokenizer, options });
  return Array.from(examples, (example) => renderExample(example, tokenizer, { open: '[', close: ']' }));
}

describe('ShareGPT', () => {
  it('gives speakers their roles, with a system column in front', async () => {
    const conversations = [
      { from: 'human', value: 'Where is the otter?' },
      { from: 'gpt', value: 'In the river.' },
      { from: 'user', value: 'And now?' },
      { from: 'chatgpt', value: 'Ashore.' },
    ];
    expect(await learnt([{ conversations, system: 'Be brief.' }])).toEqual([
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhere is the otter?<|im_end|>\n<|im_start|>assistant\n[In the river.<|im_end|>]\n' +
        '<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n[Ashore.<|im_end|>]',
    ]);
  });

  it('takes role and content, the singular, JSON text, and what stands beside a turn', () => {
    const turns = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b', weight: 0 },
    ];
    for (const row of [{ conversations: turns }, { conversation: turns }, { conversations: JSON.stringify(turns) }])
      expect(messagesOf(row, 'sharegpt')).toEqual(turns);
    expect(
      messagesOf(
        {
          conversations: [
            { from: 'Human', value: 'a', weight: 0.5 },
            { role: 'gpt', value: 'b' },
          ],
        },
        'sharegpt',
      ),
    ).toEqual([
      { role: 'user', content: 'a', weight: 0.5 },
      { role: 'assistant', content: 'b' },
    ]);
  });

  it('keeps a system message of its own', () => {
    expect(
      messagesOf(
        {
          system: 'x',
          conversations: [
            { from: 'system', value: 's' },
            { from: 'gpt', value: 'a' },
          ],
        },
        'sharegpt',
      ),
    ).toEqual([
      { role: 'system', content: 's' },
      { role: 'assistant', content: 'a' },
    ]);
  });

  it('reads calls and observations: as tool_calls for a template that writes them, else as text', () => {
    const call = '{"name": "find", "arguments": {"what": "otter"}}';
    const row = {
      conversations: [
        { from: 'human', value: 'q' },
        { from: 'function_call', value: call },
        { from: 'observation', value: '{"found": 2}' },
        { from: 'gpt', value: 'Two.' },
      ],
    };
    const [user, tool, answer] = [
      { role: 'user', content: 'q' },
      { role: 'tool', content: '{"found": 2}' },
      { role: 'assistant', content: 'Two.' },
    ];
    const called = {
      role: 'assistant',
      content: '',
      tool_calls: [{ type: 'function', function: { name: 'find', arguments: { what: 'otter' } } }],
    };
    expect(messagesOf(row, 'sharegpt', true)).toEqual([user, called, tool, answer]);
    expect(messagesOf(row, 'sharegpt', false)).toEqual([user, { role: 'assistant', content: call }, tool, answer]);
    expect(messagesOf({ conversations: [{ from: 'tool_call', value: 'find(otter)' }] }, 'sharegpt', true)).toEqual([
      { role: 'assistant', content: 'find(otter)' },
    ]);
  });

  it.each([
    [{ conversations: 'otter' }, 'field "conversations" must be a list, found a string'],
    [{ conversations: [] }, 'field "conversations" is an empty list'],
    [{ conversations: ['x'] }, 'conversations[0] must be an object, found a string'],
    [
      { conversations: [{ from: 'otter', value: 'x' }] },
      'conversations[0]: "from" is "otter"; read are system, human, user',
    ],
    [{ conversations: [{ from: 'gpt' }] }, 'conversations[0]: "value" must be a string, found nothing'],
    [
      { conversations: [{ from: 'gpt', value: 3 }] },
      'conversations[0].value must be a string or a list of text parts, found a number',
    ],
    [{ conversations: [{ from: 4, value: '' }] }, 'conversations[0]: "from" must be a string, found a number'],
  ])('refuses %j', (row, problem) => {
    expect(messagesOf(row, 'sharegpt')).toContain(problem);
  });
});

describe('contents of several parts', () => {
  it('are their texts', () => {
    const parts = [{ type: 'text', text: 'Hi ' }, { type: 'input_text', text: 'there' }, '!'];
    expect(messagesOf({ messages: [{ role: 'user', content: parts }] }, 'messages')).toEqual([
      { role: 'user', content: 'Hi there!' },
    ]);
  });

  it.each([
    [
      { type: 'image_url', image_url: { url: 'x' } },
      'messages[0].content[1] is a part of type "image_url": only text is read',
    ],
    [{ type: 'text' }, 'messages[0].content[1] is an object without a text'],
    [7, 'messages[0].content[1] is a number without a text'],
  ])('are refused by name: %j', (part, problem) => {
    expect(messagesOf({ messages: [{ role: 'user', content: ['a', part] }] }, 'messages')).toContain(problem);
  });
});

describe('prompt and completion as lists of messages', () => {
  const prompt = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b', train: true },
    { role: 'user', content: 'c' },
  ];

  it('gives no weight to answers of the prompt', () => {
    expect(messagesOf({ prompt, completion: [{ role: 'assistant', content: 'd' }] }, 'completion_messages')).toEqual([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b', weight: 0 },
      { role: 'user', content: 'c' },
      { role: 'assistant', content: 'd' },
    ]);
  });

  it('is what format completion means for lists', async () => {
    const rows = [{ prompt: prompt.slice(0, 1), completion: [{ role: 'assistant', content: 'd' }] }];
    const wanted = ['<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]'];
    for (const format of ['auto', 'completion', 'completion_messages'] as const)
      expect(await learnt(rows, { format })).toEqual(wanted);
  });
});

describe('Alpaca with system and history', () => {
  it('is a conversation, as LLaMA-Factory has it', () => {
    const row = {
      system: 's',
      history: [
        ['q1', 'a1'],
        ['q2', 'a2'],
      ],
      instruction: 'q3',
      input: 'more',
      output: 'a3',
    };
    expect(messagesOf(row, 'alpaca_chat')).toEqual([
      { role: 'system', content: 's' },
      { role: 'user', content: 'q1' },
      { role: 'assistant', content: 'a1' },
      { role: 'user', content: 'q2' },
      { role: 'assistant', content: 'a2' },
      { role: 'user', content: 'q3\nmore' },
      { role: 'assistant', content: 'a3' },
    ]);
    expect(messagesOf({ history: [['q']], instruction: '', output: '' }, 'alpaca_chat')).toBe(
      'history[0] must be a pair of texts, question and answer',
    );
    expect(messagesOf({ history: null, instruction: 3, output: '' }, 'alpaca_chat')).toBe(
      'field "instruction" must be a string, found a number',
    );
  });

  it('may have rows without either', async () => {
    const rows = [
      { instruction: 'a', output: 'b', system: 's' },
      { instruction: 'c', input: '', output: 'd' },
    ];
    expect((await learnt(rows)).at(-1)).toBe('<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]');
    await expect(learnt([...rows].reverse())).rejects.toThrow(
      'row 2: mixed formats: this row is alpaca_chat, row 1 is alpaca',
    );
  });
});

describe('data sets of conversations', () => {
  it('say the format of their files, in memory and streamed alike', async () => {
    const tokenizer = await smallTokenizer();
    const text = Array.from({ length: 5 }, (_, i) =>
      JSON.stringify({
        conversations: [
          { from: 'human', value: `q${i}` },
          { from: 'gpt', value: `a${i}` },
        ],
      }),
    ).join('\n');
    const source = memorySource('rows.jsonl', new TextEncoder().encode(text));
    const [kept, streamed] = [
      await openDataset({ source, tokenizer }),
      await openDataset({ source, tokenizer, options: { streaming: true } }),
    ];
    expect([kept.format, streamed.format]).toEqual(['sharegpt', 'sharegpt']);
    for (let i = 0; i < 5; i++) expect(await streamed.examples.at(i)).toEqual({ ...(await kept.examples.at(i)) });
  });
});

describe.skipIf(!existsSync(CASES))('cases (needs ../shared)', () => {
  it.each([
    [
      'sharegpt/a',
      'sharegpt',
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat colour is snow?<|im_end|>\n<|im_start|>assistant\n[White.<|im_end|>]',
    ],
    [
      'sharegpt/b',
      'sharegpt',
      '<|im_start|>user\nWhat colour is snow?<|im_end|>\n<|im_start|>assistant\n[White.<|im_end|>]',
    ],
    [
      'conv-prompt-completion/a',
      'completion_messages',
      '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Hello!<|im_end|>]',
    ],
    ['content-parts/a', 'messages', '<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n[Hello!<|im_end|>]'],
  ])('%s', async (name, format, wanted) => {
    const tokenizer = await smallTokenizer();
    const source = await fileSource(`${CASES}/${name}.jsonl`);
    try {
      const set = await loadDataset({ source, tokenizer });
      expect(set.format).toBe(format);
      expect(
        Array.from(set.examples, (example) => renderExample(example, tokenizer, { open: '[', close: ']' })),
      ).toEqual([wanted]);
    } finally {
      await source.close();
    }
  });
});

describe('fields with blanks in their names', () => {
  const rows = [{ 'Dialogue Text': 'hello', 'sum-up': 'bye', "it's": 'x' }];
  const load = (options: DataOptions): ReturnType<typeof loadTextRows> =>
    loadTextRows({ source: { name: 'rows', rows }, options });

  it('are written as row[…], which the error shows', async () => {
    await expect(load({ template: '{{ Dialogue Text }}' })).rejects.toThrow(
      "template: field names with blanks or signs need row['…']: write {{ Dialogue Text }} as {{ row['Dialogue Text'] }}",
    );
    await expect(
      load({ template: "{{ row['Dialogue Text'] }}", completion_template: "{{- sum-up | trim -}}{{ it's }}" }),
    ).rejects.toThrow(
      "completion_template: field names with blanks or signs need row['…']: write {{ sum-up }} as {{ row['sum-up'] }}, {{ it's }} as {{ row[\"it's\"] }}",
    );
    const [row] = await load({
      template: "{{ row['Dialogue Text'] }}|",
      completion_template: `{{ row['sum-up'] }}{{ row["it's"] }}`,
    });
    expect(row?.text).toBe('hello|byex');
  });

  it('are missed by name', async () => {
    await expect(load({ template: "{{ row['Dialog Text'] }}" })).rejects.toThrow(DataError);
    await expect(load({ template: "{{ row['Dialog Text'] }}" })).rejects.toThrow(
      /template needs "Dialog Text" \(found nothing\); the row has "Dialogue Text"/,
    );
    await expect(load({ template: '{{ dialogue.text }}{{ turns[0] }}{{ name.strip() }}' })).rejects.toThrow(
      'template needs "dialogue" (found nothing), "turns" (found nothing), "name" (found nothing)',
    );
  });
});
