import { beforeAll, describe, expect, it } from 'vitest';
import { encodeRow, IGNORED } from '../../src/data/encode.js';
import { loadDataset, loadTextRows } from '../../src/data/dataset.js';
import { findProblems } from '../../src/data/findings.js';
import type { DataOptions } from '../../src/data/options.js';
import { planRows } from '../../src/data/plan.js';
import { renderRow } from '../../src/data/render.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { parseJsonExactly } from '../../src/io/json-numbers.js';
import { Random } from '../../src/random.js';
import { takeBosNote } from '../../src/tokenizer/doubled-bos.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { smallTokenizer, smallTokenizerFiles } from '../tokenizer/fixture.js';

type Row = Record<string, unknown>;

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await smallTokenizer();
});

/** The text with brackets around what is learnt, or what is wrong. */
function shown(row: Row, options: DataOptions = {}, own = tokenizer): string {
  const outcome = renderRow(row, {
    plan: planRows(options, row, 'row 1'),
    options,
    tokenizer: own,
    draw: new Random(0, ''),
  });
  if (!('rendered' in outcome)) return 'problem' in outcome ? outcome.problem : outcome.empty;
  const { ids, labels } = encodeRow(outcome.rendered, own, { trainOn: options.train_on ?? 'completion' });
  let text = '';
  for (let at = 0; at < ids.length;) {
    const end = ids.findIndex((_, i) => i > at && (labels[i] === IGNORED) !== (labels[at] === IGNORED));
    const run = own.decode(ids.slice(at, end < 0 ? undefined : end));
    text += labels[at] === IGNORED ? run : `⟦${run}⟧`;
    at = end < 0 ? ids.length : end;
  }
  return text;
}

const user = (content: string): Row => ({ role: 'user', content });
const assistant = (content: string | null, more: Row = {}): Row => ({ role: 'assistant', content, ...more });
const call = (args: unknown): Row => ({ tool_calls: [{ type: 'function', function: { name: 'f', arguments: args } }] });

const HEADER = '<|im_start|>';
const END = '<|im_end|>';
/** Marks the content and its closing, a line break within the mark. */
const MARKED = `{% for m in messages %}{{ '${HEADER}' + m.role + '\\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '${END}\\n' }}{% endgeneration %}{% else %}{{ m.content + '${END}\\n' }}{% endif %}{% endfor %}`;
/** A think block only behind the last question, and calls, as Qwen3 writes them. */
const THINKS = `{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{{ '${HEADER}' + m.role + '\\n' }}{% if m.role == 'assistant' and loop.index0 > ns.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}{{ '${END}\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '${HEADER}assistant\\n' }}{% if enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}`;

describe('templates with generation tags', () => {
  const messages = [user('q'), assistant('one'), user('r'), assistant('')];

  it('have learnt exactly what they mark', () => {
    expect(shown({ messages }, { chat_template: MARKED })).toBe(
      `${HEADER}user\nq${END}\n${HEADER}assistant\n⟦one${END}\n⟧${HEADER}user\nr${END}\n${HEADER}assistant\n⟦${END}\n⟧`,
    );
    const without = MARKED.replace(
      `{{ m.content + '${END}\\n' }}{% endgeneration %}`,
      `{{ m.content }}{% endgeneration %}{{ '${END}\\n' }}`,
    );
    expect(shown({ messages: messages.slice(0, 2) }, { chat_template: without })).toBe(
      `${HEADER}user\nq${END}\n${HEADER}assistant\n⟦one⟧`,
    );
  });

  it('mark through macros, variables and white space control', () => {
    const macro = `{% macro turn(m) %}${HEADER}{{ m.role }}\n{%- generation -%}\n  {{ m.content }}  {%- endgeneration -%}  ${END}{% endmacro %}{% for m in messages %}{% set text %}{{ turn(m) }}{% endset %}{{ text }}{% endfor %}`;
    expect(shown({ messages: [user('q'), assistant('a')] }, { chat_template: macro })).toBe(
      `${HEADER}user⟦q⟧${END}${HEADER}assistant⟦a⟧`,
    );
  });

  it('mark texts that have characters of private use, and keep turns of weight 0 out', () => {
    const strange = [
      user('\ue000'),
      assistant('\ue000g0\ue001 x', { weight: 1 }),
      user('r'),
      assistant('no', { weight: 0 }),
    ];
    expect(shown({ messages: strange }, { chat_template: MARKED })).toBe(
      `${HEADER}user\n\ue000${END}\n${HEADER}assistant\n⟦\ue000g0\ue001 x${END}\n⟧`,
    );
  });

  it('are refused where what they mark is changed afterwards', () => {
    const trimmed =
      '{% for m in messages %}{% set t %}{% generation %} {{ m.content }}{% endgeneration %}{% endset %}{{ (t | length) ~ t }}{% endfor %}';
    expect(shown({ messages }, { chat_template: trimmed })).toMatch(
      /changes what it has marked with \{% generation %\}/,
    );
  });
});

describe('turns without marks', () => {
  it('are learnt to their closing token where only the end of all has EOS, an empty answer as its closing token', () => {
    const eos = `{% for m in messages %}{{ '${HEADER}' + m.role + '\\n' + m.content + '${END}\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '${HEADER}assistant\\n' }}{% else %}{{ eos_token }}{% endif %}`;
    expect(shown({ messages: [user('q'), assistant(''), user('r'), assistant('a')] }, { chat_template: eos })).toBe(
      `${HEADER}user\nq${END}\n${HEADER}assistant\n⟦${END}⟧\n${HEADER}user\nr${END}\n${HEADER}assistant\n⟦a${END}⟧`,
    );
  });

  it('are learnt where a think block is rendered for later turns only', () => {
    const messages = [
      user('q'),
      assistant(null, call({ x: 1 })),
      { role: 'tool', content: 't' },
      assistant('a'),
      user('r'),
      assistant('b'),
    ];
    const before = `${HEADER}user\nq${END}\n${HEADER}assistant\n⟦{"name": "f", "arguments": {"x": 1}}${END}⟧\n${HEADER}tool\nt${END}\n${HEADER}assistant\n⟦a${END}⟧\n${HEADER}user\nr${END}\n`;
    expect(shown({ messages }, { chat_template: THINKS })).toBe(
      `${before}${HEADER}assistant\n⟦<think>\n\n</think>\n\nb${END}⟧`,
    );
    expect(shown({ messages, chat_template_kwargs: { enable_thinking: false } }, { chat_template: THINKS })).toBe(
      `${before}${HEADER}assistant\n<think>\n\n</think>\n\n⟦b${END}⟧`,
    );
  });

  it('take weight, train and training, and refuse other weights', () => {
    const turns = (more: Row): Row => ({ messages: [user('q'), assistant('bad', more), user('r'), assistant('good')] });
    const expected = `${HEADER}user\nq${END}\n${HEADER}assistant\nbad${END}\n${HEADER}user\nr${END}\n${HEADER}assistant\n⟦good${END}⟧`;
    for (const more of [{ weight: 0 }, { train: false }, { training: false }, { weight: false }])
      expect(shown(turns(more))).toBe(expected);
    expect(shown(turns({ weight: 1 }))).toContain('⟦bad');
    expect(shown(turns({ weight: 0.5 }))).toBe(
      'messages[1]: "weight" must be 0 or 1, false or true, found 0.5 (other weights are not applied)',
    );
    expect(shown(turns({ weight: 1, train: false }))).toMatch(/contradict/);
    expect(shown(turns({ weight: 0 }), { train_on: 'all' })).toBe(
      `⟦${HEADER}user\nq${END}\n⟧${HEADER}assistant\nbad${END}\n⟦${HEADER}user\nr${END}\n${HEADER}assistant\ngood${END}\n⟧`,
    );
  });
});

describe('tools', () => {
  const template = `{{ tools | tojson }}{% for m in messages %}{{ '${HEADER}' }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{{ (m.content or '') + '${END}' }}{% endfor %}`;
  const row = (args: unknown, tools: unknown): Row => ({ messages: [user('q'), assistant('', call(args))], tools });

  it('and arguments may be JSON texts', () => {
    const expected = `[{"name": "f"}]${HEADER}q${END}${HEADER}⟦{"city": "Oslo"}${END}⟧`;
    expect(shown(row({ city: 'Oslo' }, [{ name: 'f' }]), { chat_template: template })).toBe(expected);
    expect(shown(row('{"city": "Oslo"}', '[{"name": "f"}]'), { chat_template: template })).toBe(expected);
    expect(shown(row({}, '[{"name"'), { chat_template: template })).toMatch(/field "tools" is a text that is not JSON/);
  });

  it('keep how their numbers are spelt', () => {
    const args = parseJsonExactly(
      '{"a": 21.0, "b": 12345678901234567890, "c": 1e5, "d": -0.0, "e": 1e-7, "f": 1e22, "g": 0.1, "h": 3}',
    );
    expect(shown(row(args, null), { chat_template: template })).toContain(
      '{"a": 21.0, "b": 12345678901234567890, "c": 100000.0, "d": -0.0, "e": 1e-07, "f": 1e+22, "g": 0.1, "h": 3}',
    );
  });

  it('reach templates that join arguments to a text', () => {
    const joins = `{% for m in messages %}{{ '${HEADER}' + (m.content or '') }}{% for c in m.tool_calls or [] %}{{ 'call ' + c.function.arguments }}{% endfor %}{{ '${END}' }}{% endfor %}`;
    expect(shown({ messages: [user('q'), assistant('', call({ x: 1.5 }))] }, { chat_template: joins })).toContain(
      'call {"x": 1.5}',
    );
    expect(shown({ messages: [user('q'), assistant('', call('{"x":1}'))] }, { chat_template: joins })).toContain(
      'call {"x":1}',
    );
  });
});

it('a text that begins with BOS gets one, and it is said once', async () => {
  const own = await smallTokenizer();
  expect(shown({ text: '<s>ab' }, {}, own)).toBe('⟦<s>ab<|endoftext|>⟧');
  expect(shown({ prompt: '<s>a', completion: 'n' }, {}, own)).toBe('<s>an⟦<|endoftext|>⟧');
  await loadDataset({ source: { name: 'rows', rows: [{ text: '<s>ab' }] }, tokenizer: own });
  expect(takeBosNote(own)).toMatch(/begin with the BOS token <s>/);
  expect(takeBosNote(own)).toBeUndefined();
});

it('a conversation is encoded once, and no further than max_length', async () => {
  const own = await smallTokenizer();
  const count = { characters: 0, renderings: 0 };
  const counting = new Proxy(own, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (key === 'traceChatTemplate') count.renderings += (args[0] as unknown[]).length;
        const result = (value as (...given: unknown[]) => unknown).apply(target, args);
        if (key === 'encode' || key === 'encodeText') count.characters += (args[0] as string).length;
        if (key === 'encodePlaced') count.characters += (result as { characters: number }).characters;
        return result;
      };
    },
  });
  const measure = async (turns: number, maxLength?: number): Promise<{ characters: number; renderings: number }> => {
    Object.assign(count, { characters: 0, renderings: 0 });
    const messages = Array.from({ length: turns }, (_, i) => [
      user(`question ${i} of some words`),
      assistant(`answer ${i} `.repeat(20)),
    ]).flat();
    await loadDataset({
      source: { name: 'rows', rows: [{ messages }] },
      tokenizer: counting,
      options: { max_length: maxLength },
    });
    return { ...count };
  };
  const [few, many] = [await measure(50), await measure(200)];
  expect(many.characters).toBeLessThan(4.5 * few.characters);
  expect(many.renderings).toBeLessThan(4.5 * few.renderings);
  expect((await measure(200, 64)).characters).toBeLessThan(6000);
  const [row] = await loadTextRows({
    source: { name: 'rows', rows: [{ messages: [user('q'), assistant('a')] }] },
    tokenizer: own,
  });
  expect(row).toMatchObject({ prompt: `${HEADER}user\nq${END}\n${HEADER}assistant\n`, completion: 'a' });
});

it('a turn whose end is the header of the next one is learnt with that, where the model stops at it', async () => {
  const ends = `{% for m in messages %}{{ ('${HEADER}' if m.role == 'user' else '${END}') + m.content }}{% endfor %}{% if add_generation_prompt %}{{ '${END}' }}{% endif %}`;
  const messages = [user('q'), assistant('a'), user('r'), assistant('b')];
  const files = {
    ...smallTokenizerFiles(),
    'generation_config.json': JSON.stringify({ eos_token_id: [0, 1, 999999] }),
  };
  const stopping = (await loadTokenizer(memoryDirectory('model', files))) as Tokenizer;
  expect(shown({ messages }, { chat_template: ends }, stopping)).toBe(
    `${HEADER}q${END}⟦a${HEADER}⟧r${END}⟦b<|endoftext|>⟧`,
  );
  expect(shown({ messages }, { chat_template: ends })).toBe(`${HEADER}q${END}⟦a⟧${HEADER}r${END}⟦b<|endoftext|>⟧`);
  const found = async (own: Tokenizer): Promise<string[]> => {
    const { examples } = await loadDataset({
      source: { name: 'rows', rows: [{ messages }] },
      tokenizer: own,
      options: { chat_template: ends },
    });
    return findProblems(examples, {
      tokenizer: own,
      stopTokens: [0, ...(own.modelEosIds ?? [])],
      modelStopTokens: [],
      written: '',
    }).map(({ kind }) => kind);
  };
  expect(await found(stopping)).toEqual([]);
  expect(await found(tokenizer)).toEqual(['turn without end']);
});

describe('marks on messages of other roles', () => {
  const row = (more: Row): Row => ({
    messages: [{ role: 'system', content: 's', ...more }, user('q'), assistant('a')],
  });
  const expected = `${HEADER}system\ns${END}\n${HEADER}user\nq${END}\n${HEADER}assistant\n⟦a${END}⟧`;

  it('say what is so anyway, or are refused', () => {
    for (const more of [{ weight: 0 }, { train: false }, { training: false }]) expect(shown(row(more))).toBe(expected);
    expect(shown(row({ train: true }))).toMatch(
      /^messages\[0\]: "train" asks to learn a message of role "system", but only those of "assistant" are learnt: take it out, or set train_on to all/,
    );
    expect(shown(row({ weight: 1 }))).toMatch(/"weight" asks to learn/);
    expect(shown(row({ weight: 2 }))).toMatch(/"weight" must be 0 or 1/);
  });

  it('count where all is learnt', () => {
    expect(shown(row({ weight: 1 }), { train_on: 'all' })).toBe(
      `⟦${HEADER}system\ns${END}\n${HEADER}user\nq${END}\n${HEADER}assistant\na${END}\n⟧`,
    );
    expect(shown(row({ weight: 0 }), { train_on: 'all' })).toBe(
      `${HEADER}system\ns${END}\n⟦${HEADER}user\nq${END}\n${HEADER}assistant\na${END}\n⟧`,
    );
  });
});

it('calls that the template does not write are noticed', async () => {
  const calls = {
    messages: [user('f?'), assistant('', call({ x: 1 })), { role: 'tool', content: 'f' }, assistant('a f')],
  };
  const named = {
    messages: [
      user('q'),
      assistant('', { tool_calls: [{ name: 'lookup', arguments: {} }] }),
      { role: 'tool', content: 't' },
      assistant('lookup'),
    ],
  };
  const plain = { messages: [user('q'), assistant('a', { tool_calls: [] })] };
  const load = async (template?: string): Promise<(number | undefined)[]> => {
    const { examples } = await loadDataset({
      source: { name: 'rows', rows: [calls, named, plain] },
      tokenizer,
      options: { chat_template: template },
    });
    return Array.from(examples, (example) => (example.omitsCalls === true ? example.row : undefined));
  };
  expect(await load()).toEqual([1, 2, undefined]);
  expect(
    await load(
      `{% for m in messages %}{{ '${HEADER}' + m.role + '\\n' + m.content }}{% for c in m.tool_calls or [] %}{{ (c.function or c) | tojson }}{% endfor %}{{ '${END}\\n' }}{% endfor %}`,
    ),
  ).toEqual([undefined, undefined, undefined]);
});

it('keys of arguments keep their order, also those that are numbers', () => {
  const text = '{"10": {"b": 1, "2": "\\"7\\": x", "1" : [ {"3":0,"z":1.0,"0":2} ]}, "2": 2, "01": 3, "a": 4}';
  const template = `{% for m in messages %}{{ '${HEADER}' }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{{ (m.content or '') + '${END}' }}{% endfor %}`;
  const written = '{"10": {"b": 1, "2": "\\"7\\": x", "1": [{"3": 0, "z": 1.0, "0": 2}]}, "2": 2, "01": 3, "a": 4}';
  for (const args of [text, parseJsonExactly(text)])
    expect(shown({ messages: [user('q'), assistant('', call(args))] }, { chat_template: template })).toContain(written);
});
