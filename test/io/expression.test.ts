import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { compileExpression } from '../../src/io/expression.js';
import { withinTime } from '../../src/io/time-limit.js';

const [backtracking] = ['^(a+)+$'];
const HOSTILE = new RegExp(backtracking as string);
const compile = (source: string): ReturnType<typeof compileExpression> => compileExpression(source, 'target_modules');

describe('an expression of a file', () => {
  it.each([
    ['.*\\.(q|v)_proj', 'model.layers.0.self_attn.q_proj', true],
    ['q_proj', 'model.layers.0.self_attn.q_proj', false],
    ['(?P<name>a)b', 'ab', true],
    ['(?i)AB', 'ab', true],
    ['ab\\Z', 'ab', true],
    ['(?:.*\\.)?layers\\.[0-3]\\..*', 'model.layers.12.mlp', false],
    // What RE2 has no automaton for.
    ['^(?!.*visual).*\\.(?:q_proj|v_proj)$', 'model.visual.0.q_proj', false],
    ['^(?!.*visual).*\\.(?:q_proj|v_proj)$', 'model.layers.0.q_proj', true],
    ['(a|b)\\1', 'aa', true],
    ['(?P<x>a|b)(?=c)c\\Z', 'bc', true],
  ])('%s and %s', (source, text, expected) => {
    expect(compile(source).matches(text)).toBe(expected);
  });

  it('gives its first group', () => {
    const layers = compile('^.*?\\.(?:layers)\\.(\\d+)\\.');
    expect(layers.firstGroup('model.layers.7.mlp.layers.3.up')).toBe('7');
    expect(layers.firstGroup('model.head')).toBeUndefined();
  });

  it.each([
    '(a+)+$',
    '(a|a)*$',
    '(a|aa)+$',
    '([a-z]+)*=',
    '(.*)*x',
    '(?:a?){40}a{40}b',
    '.*.*.*.*.*.*.*.*.*.*=',
    '(x+x+)+y',
  ])('that backtracks without end elsewhere takes no time: %s', (source) => {
    expect(compile(source).matches(`${'a'.repeat(2000)}!`)).toBe(false);
    expect(compile(source).matches(`${'x'.repeat(2000)}!`)).toBe(false);
  });

  it.each(['(?=b)(a+)+$|(?:(a|aa)+)+b', '(?!b)(a+)+$', '(a+)+\\1$'])(
    'that only the native engine has is cut off: %s',
    (source) => {
      expect(() => compile(source).matches(`${'a'.repeat(60)}!`)).toThrow(
        /target_modules: .* took more than 1000 ms for one name/,
      );
    },
  );

  it.each(['(', '*a', '[z-a]', 'a{2,1}', '(?P<a>'])('that is none is said to be none: %s', (source) => {
    expect(() => compile(source)).toThrow(ConfigError);
    expect(() => compile(source)).toThrow(/^target_modules: .* is no regular expression/);
  });
});

describe('a limit of time', () => {
  it('ends loops and expressions, gives results and errors on, and can be used again', () => {
    const late = (): Error => new ConfigError('late');
    expect(() =>
      withinTime(
        50,
        () => {
          for (;;);
        },
        late,
      ),
    ).toThrow('late');
    expect(() => withinTime(50, () => HOSTILE.test(`${'a'.repeat(50)}!`), late)).toThrow('late');
    expect(withinTime(1000, () => withinTime(50, () => 7, late), late)).toBe(7);
    expect(() =>
      withinTime(
        1000,
        () => {
          throw new RangeError('own');
        },
        late,
      ),
    ).toThrow(RangeError);
    expect(withinTime(1000, () => undefined, late)).toBeUndefined();
  });
});
