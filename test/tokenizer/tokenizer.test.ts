import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ConfigError, DataError, FormatError } from '../../src/errors.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.js';
import { smallTokenizer, smallTokenizerFiles } from './fixture.js';

const MODEL = { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] };

describe('loadTokenizer', () => {
  it('says so when there is none', async () => {
    expect(await loadTokenizer(memoryDirectory('model', { 'config.json': '{}' }))).toBeUndefined();
  });

  it.each([
    ['[]', 'model/tokenizer.json'],
    ['{"model": 3}', '"model"'],
    ['{"model": {"type": "BPE", "merges": []}}', 'model.vocab'],
    ['{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}', 'model.vocab["a"]'],
    ['{"model": {"type": "BPE", "vocab": {"a": 0}}}', 'model.merges'],
    [JSON.stringify({ model: MODEL, added_tokens: [{ content: 'x' }] }), 'added_tokens[0]'],
    [JSON.stringify({ model: MODEL, added_tokens: [{ id: 1e15, content: 'x' }] }), 'added_tokens[0]'],
    [JSON.stringify({ model: MODEL, pre_tokenizer: { type: 'Unheard' } }), 'Unheard'],
    [JSON.stringify({ model: MODEL, pre_tokenizer: { type: 'Sequence' } }), 'pre_tokenizer.pretokenizers'],
    ['{"model"', 'tokenizer.json'],
  ])('refuses %s', async (json, told) => {
    const loading = loadTokenizer(memoryDirectory('model', { 'tokenizer.json': json }));
    await expect(loading).rejects.toThrow(FormatError);
    await expect(loading).rejects.toThrow(told);
  });

  it('takes a file with nothing but a model, and ids from config.json', async () => {
    const files = {
      'tokenizer.json': JSON.stringify({ model: MODEL }),
      'config.json': '{"eos_token_id": [1, 0], "bos_token_id": 9}',
    };
    const tokenizer = await loadTokenizer(memoryDirectory('model', files));
    expect(tokenizer).toMatchObject({ vocabSize: 2, eosTokenId: 1, bosTokenId: undefined, endOfTurnId: 1 });
    expect(tokenizer?.encode('abc')).toEqual([0, 1]); // no unknown token: the c is dropped
    expect(tokenizer?.decode([])).toBe('');
  });

  it('adds tokens that only the configuration knows', async () => {
    const files = smallTokenizerFiles({ added_tokens_decoder: { '400': { content: '<extra>', special: true } } });
    const tokenizer = await loadTokenizer(memoryDirectory('model', files));
    expect(tokenizer?.encode('a<extra>', { addSpecialTokens: false }).at(-1)).toBe(400);
    expect(tokenizer?.vocabSize).toBe(401);
  });

  it('reads special tokens from either file and as objects; null means none', async () => {
    const files = smallTokenizerFiles({
      bos_token: null,
      eos_token: undefined,
      pad_token: { content: '<|im_start|>' },
    });
    files['special_tokens_map.json'] = JSON.stringify({ eos_token: { content: '<|im_end|>' }, bos_token: '<s>' });
    files['config.json'] = '{"bos_token_id": 3}';
    expect(await loadTokenizer(memoryDirectory('model', files))).toMatchObject({
      bosTokenId: undefined,
      eosTokenId: 2,
      padTokenId: 1,
    });
  });

  it('gives back any text', { timeout: 60_000 }, async () => {
    const tokenizer = await smallTokenizer();
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }))).toBe(text);
        expect(tokenizer.decode(tokenizer.encode(text), { skipSpecialTokens: true })).toBe(text);
      }),
      { numRuns: 60 },
    );
  });

  it('splits every numeric character for Digits, as the native library does', async () => {
    const json = {
      pre_tokenizer: { type: 'Digits', individual_digits: true },
      model: { type: 'BPE', vocab: { '½': 0, '²': 1, '½²': 2, '7': 3, '77': 4 }, merges: ['½ ²', '7 7'] },
    };
    const load = (individual: boolean): ReturnType<typeof loadTokenizer> => {
      const pre = { type: 'Digits', individual_digits: individual };
      return loadTokenizer(
        memoryDirectory('digits', { 'tokenizer.json': JSON.stringify({ ...json, pre_tokenizer: pre }) }),
      );
    };
    expect((await load(true))?.encode('½²77')).toEqual([0, 1, 3, 3]);
    expect((await load(false))?.encode('½²77')).toEqual([2, 4]);
  });
});

describe('chat templates', () => {
  const messages = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello' },
  ];

  it('writes a conversation', async () => {
    const tokenizer = await smallTokenizer();
    expect(tokenizer.applyChatTemplate(messages)).toBe(
      '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n',
    );
    expect(tokenizer.applyChatTemplate(messages.slice(0, 1), { addGenerationPrompt: true })).toMatch(
      /<\|im_start\|>assistant\n$/,
    );
    expect(tokenizer.endOfTurnId).toBe(2);
    expect(tokenizer.eosTokenId).toBe(0);
  });

  it('knows special tokens, raise_exception, strftime_now, tojson, and further variables', async () => {
    const template =
      "{{ bos_token }}{% if messages[0].role == 'tool' %}{{ raise_exception('no tools first') }}{% endif %}" +
      "{{ messages[0].content }}{{ eos_token }}{{ tools | tojson }}{{ strftime_now('%Y') }}";
    const tokenizer = await smallTokenizer({ chat_template: template });
    const text = tokenizer.applyChatTemplate(messages, { variables: { tools: [{ name: 'f' }] } });
    expect(text).toMatch(/^<s>Hi<\|endoftext\|>\[\{"name": "f"\}\]\d{4}$/);
    expect(() => tokenizer.applyChatTemplate([{ role: 'tool', content: '' }])).toThrow(DataError);
    expect(() => tokenizer.applyChatTemplate([{ role: 'tool', content: '' }])).toThrow('no tools first');
    expect(() => tokenizer.applyChatTemplate(messages, { template: '{% if %}' })).toThrow(ConfigError);
  });

  it('takes the default of several, and chat_template.jinja before all', async () => {
    const list = [
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: 'default' },
    ];
    expect((await smallTokenizer({ chat_template: list })).applyChatTemplate(messages)).toBe('default');
    expect((await smallTokenizer({ chat_template: { rag: 'rag' } })).applyChatTemplate(messages)).toBe('rag');
    const files = { ...smallTokenizerFiles({ chat_template: list }), 'chat_template.jinja': '{{ messages | length }}' };
    expect((await loadTokenizer(memoryDirectory('model', files)))?.applyChatTemplate(messages)).toBe('2');
    await expect(smallTokenizer({ chat_template: [{ name: 'x' }] })).rejects.toThrow('small/tokenizer_config.json');
  });

  it('asks for a template where there is none', async () => {
    const tokenizer = await smallTokenizer({ chat_template: undefined });
    expect(() => tokenizer.applyChatTemplate(messages)).toThrow(ConfigError);
    expect(tokenizer.endOfTurnId).toBe(tokenizer.eosTokenId);
  });
});

it('add_bos_token and add_eos_token decide beside the classes that go by them', async () => {
  const ids = async (config: Record<string, unknown>): Promise<number[]> => (await smallTokenizer(config)).encode('ab');
  const [bare] = [(await smallTokenizer()).encode('ab', { addSpecialTokens: false })];
  const [bos, eos] = [3, 0];
  for (const name of [
    'LlamaTokenizer',
    'LlamaTokenizerFast',
    'CodeLlamaTokenizer',
    'GemmaTokenizer',
    'CohereTokenizerFast',
  ]) {
    expect(await ids({ tokenizer_class: name })).toEqual([bos, ...bare]);
    expect(await ids({ tokenizer_class: name, add_bos_token: false })).toEqual(bare);
    expect(await ids({ tokenizer_class: name, add_bos_token: true, add_eos_token: true })).toEqual([bos, ...bare, eos]);
    expect(await ids({ tokenizer_class: name, add_bos_token: false, add_eos_token: true })).toEqual([...bare, eos]);
  }
  for (const name of ['PreTrainedTokenizerFast', 'Qwen2Tokenizer', undefined])
    expect(await ids({ tokenizer_class: name, add_bos_token: false, add_eos_token: true })).toEqual([bos, ...bare]);
});
