import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import fc from 'fast-check';
import { expect, it } from 'vitest';

import { memoryDirectory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { describeReferences, referencePath } from '../support/references.js';

const TOKENIZERS = referencePath('tokenizers');

interface Encoding {
  ids: number[];
  ids_with_special: number[];
  tokens: string[];
  decoded_skip_special: string;
}
interface Reference {
  texts: string[];
  results: Record<string, { file: string; vocab_size: number; encodings: Encoding[] }>;
}

/** A directory of the shared folder, whatever its tokenizer.json is called there. */
function directoryOf(folder: string, file: string): ReturnType<typeof memoryDirectory> {
  const files: Record<string, Uint8Array> = { 'tokenizer.json': readFileSync(path.join(folder, file)) };
  const config = path.join(folder, 'tokenizer_config.json');
  if (existsSync(config)) files['tokenizer_config.json'] = readFileSync(config);
  return memoryDirectory(path.basename(folder), files);
}

const loaded = new Map<string, Promise<Tokenizer>>();

/** Each is read once: the larger ones take seconds. */
function load(name: string): Promise<Tokenizer> {
  const tokenizer = loaded.get(name) ?? read(name);
  loaded.set(name, tokenizer);
  return tokenizer;
}

async function read(name: string): Promise<Tokenizer> {
  const folder = name.startsWith('tinystories') ? referencePath(`models/${name}`) : path.join(TOKENIZERS, name);
  const file = name === 'qwen2.5' ? 'tokenizer.rebuilt.json' : 'tokenizer.json';
  const tokenizer = await loadTokenizer(directoryOf(folder, file));
  if (tokenizer === undefined) throw new Error(`no tokenizer in ${folder}`);
  return tokenizer;
}

describeReferences(
  'encodings of the native library',
  ['tokenizers', 'models/tinystories-656k', 'reference/stories-lora', 'reference/stories-forward', 'datasets'],
  () => {
    const reference = JSON.parse(readFileSync(path.join(TOKENIZERS, 'reference_encodings.json'), 'utf8')) as Reference;

    it.each(['gpt2', 'smollm', 'llama2', 'qwen2.5', 'tinystories-656k'])(
      '%s: all 25 texts',
      { timeout: 60_000 },
      async (name) => {
        const tokenizer = await load(name);
        const expected = reference.results[name];
        if (expected === undefined) throw new Error(`no reference for ${name}`);
        expect(tokenizer.vocabSize).toBe(expected.vocab_size);
        expect(expected.encodings).toHaveLength(25);
        reference.texts.forEach((text, i) => {
          const encoding = expected.encodings[i] as Encoding;
          expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(encoding.ids_with_special);
          expect(tokenizer.encode(text, { addSpecialTokens: false }), JSON.stringify(text)).toEqual(encoding.ids);
        });
      },
    );

    it.each(['gpt2', 'smollm', 'llama2', 'qwen2.5'])('%s: decodings', { timeout: 60_000 }, async (name) => {
      const tokenizer = await load(name);
      reference.results[name]?.encodings.forEach((encoding) => {
        expect(tokenizer.decode(encoding.ids_with_special, { skipSpecialTokens: true })).toBe(
          encoding.decoded_skip_special,
        );
      });
    });

    it('tinystories-656k: decodings of what its vocabulary can spell', async () => {
      // The native library keeps <|start_story|> and <unk>, because the file marks them as normalised, and spaces them
      // out.
      const tokenizer = await load('tinystories-656k');
      const spelled = (reference.results['tinystories-656k']?.encodings ?? []).filter(
        (encoding) => !encoding.ids.includes(0),
      );
      expect(spelled.length).toBeGreaterThan(8);
      for (const { ids_with_special: ids, decoded_skip_special: decoded } of spelled) {
        const ours = tokenizer.decode(ids, { skipSpecialTokens: true });
        expect(ours.trimStart()).toBe(decoded.replace('<|start_story|>', '').trimStart());
      }
    });

    it('tinystories-656k: ids of the reference runs', async () => {
      const tokenizer = await load('tinystories-656k');
      const {
        texts,
        input_ids: ids,
        pad_id: pad,
      } = JSON.parse(readFileSync(referencePath('reference/stories-lora/reference.json'), 'utf8')) as {
        texts: string[];
        input_ids: number[][];
        pad_id: number;
      };
      texts.forEach((text, i) => {
        const row = ids[i] as number[];
        const length = row.findLastIndex((id) => id !== pad) + 1;
        expect([...tokenizer.encode(text), tokenizer.eosTokenId]).toEqual(row.slice(0, length));
      });
      const forward = JSON.parse(
        readFileSync(referencePath('reference/stories-forward/reference.json'), 'utf8'),
      ) as Record<string, { text: string; ids: number[] }>;
      const story = forward['tinystories-656k'];
      if (story === undefined) throw new Error('no reference');
      const encoded = tokenizer.encode(story.text);
      expect(encoded.slice(0, story.ids.length - 1)).toEqual(story.ids.slice(0, -1));
    });

    it('knows the special tokens of real directories', { timeout: 60_000 }, async () => {
      const stories = await loadTokenizer(localDirectory(referencePath('models/tinystories-656k')));
      expect(stories).toMatchObject({ bosTokenId: 1, eosTokenId: 2, padTokenId: 0, vocabSize: 2048, endOfTurnId: 2 });
      expect(await load('llama2')).toMatchObject({ bosTokenId: 1, eosTokenId: 2, endOfTurnId: 2 });
      const qwen = await load('qwen2.5');
      expect(qwen.bosTokenId).toBeUndefined();
      expect(qwen.idToToken(qwen.eosTokenId ?? -1)).toBe('<|endoftext|>');
    });

    it('writes the chat template of TinyLlama', async () => {
      const tokenizer = await load('llama2');
      const text = tokenizer.applyChatTemplate([{ role: 'user', content: 'Hi' }], { addGenerationPrompt: true });
      expect(text).toBe('<|user|>\nHi</s>\n<|assistant|>\n');
    });

    it('gives back what it encoded', { timeout: 60_000 }, async () => {
      const tokenizers = await Promise.all(['gpt2', 'qwen2.5', 'tinystories-656k'].map(load));
      const stories = readFileSync(referencePath('datasets/wikisql_mlx/valid.jsonl'), 'utf8').split('\n').slice(0, 20);
      for (const tokenizer of tokenizers.slice(0, 2)) {
        fc.assert(
          fc.property(fc.string({ unit: 'grapheme' }), (text) => {
            const normal = text.normalize('NFC'); // Qwen's normaliser
            expect(tokenizer.decode(tokenizer.encode(normal, { addSpecialTokens: false }))).toBe(normal);
          }),
          { numRuns: 50 },
        );
        for (const story of stories) expect(tokenizer.decode(tokenizer.encode(story))).toBe(story);
      }
      const plain = 'Once upon a time, there was a cat. It ran to the park.';
      const small = tokenizers[2] as Tokenizer;
      expect(small.decode(small.encode(plain), { skipSpecialTokens: true }).trim()).toBe(plain);
    });
  },
);
