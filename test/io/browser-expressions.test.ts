import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryDirectory } from '../../src/io/directory.js';
import { smallTokenizerFiles } from '../tokenizer/fixture.js';

/** As a browser is: without the module that can interrupt what takes too long. */
beforeEach(() => {
  vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined as never);
  vi.resetModules();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

describe('where nothing can interrupt an expression', () => {
  it('there is no limit of time', async () => {
    const { canLimitTime } = await import('../../src/io/time-limit.js');
    expect(canLimitTime()).toBe(false);
    vi.restoreAllMocks();
    vi.resetModules();
    expect((await import('../../src/io/time-limit.js')).canLimitTime()).toBe(true);
  });

  it('one with look-around or back-references that may backtrack is refused, others match', async () => {
    const { compileExpression } = await import('../../src/io/expression.js');
    for (const source of ['(?=b)(a+)+$', '(?!b)(a|aa)+$', '(a+)+\\1$', '(?=a)a*a*a*b']) {
      expect(() => compileExpression(source, 'target_modules')).toThrow(
        /^target_modules: .* could take exponential time, and nothing can interrupt it in a browser/,
      );
    }
    const layers = compileExpression('^(?!.*visual).*\\.(?:q_proj|v_proj)$', 'target_modules');
    expect(layers.matches('model.layers.0.q_proj')).toBe(true);
    expect(layers.matches('model.visual.0.q_proj')).toBe(false);
    // In time linear in the text, whatever it repeats.
    expect(compileExpression('(a+)+$', 'target_modules').matches(`${'a'.repeat(4000)}!`)).toBe(false);
  });

  it('one of a tokenizer.json is refused, those that are in use are read', async () => {
    const { loadTokenizer } = await import('../../src/tokenizer/tokenizer.js');
    const files = smallTokenizerFiles();
    const json = JSON.parse(files['tokenizer.json'] as string) as Record<string, unknown>;
    const withSplit = (pattern: string): ReturnType<typeof loadTokenizer> => {
      const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
      const own = { ...json, pre_tokenizer: { type: 'Sequence', pretokenizers: [split, json['pre_tokenizer']] } };
      return loadTokenizer(memoryDirectory('m', { ...files, 'tokenizer.json': JSON.stringify(own) }));
    };
    await expect(withSplit('(?:a|aa)+$')).rejects.toThrow(
      'm/tokenizer.json: its expression "(?:a|aa)+$" could take exponential time, and nothing can interrupt it in a browser',
    );
    const tokenizer = await withSplit(' ?\\p{L}+| ?\\p{N}+|\\s+(?!\\S)|\\s+');
    expect(tokenizer?.decode(tokenizer.encode('the ant', { addSpecialTokens: false }))).toBe('the ant');
  });
});
