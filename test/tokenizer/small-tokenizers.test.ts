import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memoryDirectory } from '../../src/io/directory.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';

interface Encoding {
  readonly text: string;
  readonly ids_with_special: number[];
  readonly ids: number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
}

const FOLDER = 'test/golden/tokenizers';
const { results } = JSON.parse(readFileSync(`${FOLDER}/encodings.json`, 'utf8')) as {
  results: Record<string, { vocab_size: number; encodings: Encoding[] }>;
};

describe.each(Object.entries(results))(
  'a small tokenizer: %s, as the native library encodes with it (scripts/golden/tokenizers_encodings.py)',
  (name, { vocab_size: size, encodings }) => {
    const load = async (): Promise<Tokenizer> => {
      return (await loadTokenizer(
        memoryDirectory(name, { 'tokenizer.json': readFileSync(`${FOLDER}/${name}/tokenizer.json`) }),
      )) as Tokenizer;
    };

    it('has its vocabulary', async () => {
      expect((await load()).vocabSize).toBe(size);
    });

    it.each(encodings.map((encoding) => [JSON.stringify(encoding.text), encoding] as const))(
      '%s',
      async (_title, encoding) => {
        const tokenizer = await load();
        expect(tokenizer.encode(encoding.text)).toEqual(encoding.ids_with_special);
        expect(tokenizer.encode(encoding.text, { addSpecialTokens: false })).toEqual(encoding.ids);
        expect(tokenizer.decode(encoding.ids_with_special)).toBe(encoding.decoded);
        expect(tokenizer.decode(encoding.ids_with_special, { skipSpecialTokens: true })).toBe(
          encoding.decoded_skip_special,
        );
      },
    );
  },
);
