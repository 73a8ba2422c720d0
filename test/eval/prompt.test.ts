import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { encodePrompt, stopTokensOf } from '../../src/eval/prompt.js';
import { localDirectory } from '../../src/io/node.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';

const tokenizer = (await loadTokenizer(localDirectory('configs/quickstart/base'))) as Tokenizer;

describe('encodePrompt', () => {
  it('takes ids as they are and text as the tokenizer writes it', () => {
    expect(encodePrompt({ tokens: [3, 4] }, undefined)).toEqual([3, 4]);
    const ids = encodePrompt({ text: 'Tom had a ball' }, tokenizer);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true }).trim()).toBe('Tom had a ball');
    expect(ids.at(-1)).not.toBe(tokenizer.eosTokenId);
  });

  it('leaves off the end of text that a tokenizer adds', () => {
    const closing = {
      ...tokenizer,
      eosTokenId: 2,
      encodeText: () => [1, 5, 2],
      bringsBos: () => false,
    } as unknown as Tokenizer;
    expect(encodePrompt({ text: 'a' }, closing)).toEqual([1, 5]);
  });

  it('writes messages out with the header of an answer', () => {
    const template =
      '{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}';
    const written: string[] = [];
    const chat = {
      applyChatTemplate: (messages: { role: string; content?: unknown }[], options: object) =>
        tokenizer.applyChatTemplate(messages, { ...options, template }),
      encode: (text: string, options: object) => (written.push(text + JSON.stringify(options)), [7]),
    } as unknown as Tokenizer;
    expect(encodePrompt({ messages: [{ role: 'user', content: 'hi' }] }, chat)).toEqual([7]);
    expect(written).toEqual(['<user>hi<assistant>{"addSpecialTokens":false}']);
  });

  it('needs a tokenizer for text', () => {
    expect(() => encodePrompt({ text: 'a' }, undefined)).toThrow(ConfigError);
  });
});

describe('stopTokensOf', () => {
  it('joins what the model, the tokenizer and the chat template end with, each once', () => {
    expect(stopTokensOf([2, 5], { eosTokenId: 2, endOfTurnId: 9 } as Tokenizer)).toEqual([2, 5, 9]);
    expect(stopTokensOf([2], undefined)).toEqual([2]);
  });
});
