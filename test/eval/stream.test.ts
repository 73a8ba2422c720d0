import { describe, expect, it } from 'vitest';
import { decodeContinuation, TextStream } from '../../src/eval/stream.js';
import { localDirectory } from '../../src/io/node.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';

/** Bytes as tokens, so that characters come in pieces; 256 is special. */
const bytes: Pick<Tokenizer, 'decode'> = {
  decode: (ids) => new TextDecoder().decode(Uint8Array.from(Array.from(ids).filter((id) => id < 256))),
};

describe('TextStream', () => {
  it('holds an unfinished character back until it is whole', () => {
    const stream = new TextStream(bytes);
    const tokens = [...new TextEncoder().encode('aé😀')];
    expect(tokens.map((token) => stream.push(token))).toEqual(['a', '', 'é', '', '', '', '😀']);
    expect(stream.end()).toBe('');
  });

  it('gives out at the end what never became whole', () => {
    const stream = new TextStream(bytes);
    expect([stream.push(0x61), stream.push(0xc3)]).toEqual(['a', '']);
    expect(stream.end()).toBe('\ufffd');
  });

  it('gives the blank between prompt and answer, which decoders strip at the start of a text', async () => {
    const tokenizer = (await loadTokenizer(localDirectory('configs/quickstart/base'))) as Tokenizer;
    const text = 'Tom had a red ball. He liked it.';
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    for (let cut = 1; cut < ids.length; cut++) {
      const before = tokenizer.decode(ids.slice(0, cut));
      expect(before + decodeContinuation(tokenizer, ids.slice(0, cut), ids.slice(cut))).toBe(tokenizer.decode(ids));
    }
  });
});
