import { describe, expect, it } from 'vitest';
import { markdownCell, markdownFence, markdownText, visible, visibleLine } from '../src/text.js';

describe('visible', () => {
  it('shows what a terminal would obey: escapes, C1, OSC, carriage returns, bidi controls', () => {
    const hostile = [
      '\x1b[2J',
      '\x9b31m',
      '\x1b]8;;http://x\x07link',
      '\x1b]52;c;AAAA\x1b\\',
      'a\rb',
      '\b\b',
      '\x7f',
      '\0',
      '\u202eabc',
      '\u2066x\u2069',
      '\u061c',
      '\u2028',
    ];
    for (const text of hostile) {
      expect(visible(text)).not.toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]|\p{Bidi_Control}/u);
    }
    expect(visible('\x1b[31mred\r\u202e')).toBe('\\u001b[31mred\\r\\u202e');
  });

  it('leaves every other text as it is', () => {
    const text = 'Zeile\n\teins: «äöü» 你好 👩‍👩‍👧 ½ \\ é שלום';
    expect(visible(text)).toBe(text);
    expect(visibleLine('a\nb\tc')).toBe('a\\nb\\tc');
  });

  it('keeps JSON the same JSON', () => {
    const value = { text: '\x1b[0m \x9b \u202e \x7f \r\n \u2028 \\' };
    expect(JSON.parse(visible(JSON.stringify(value)))).toEqual(value);
  });
});

describe('Markdown', () => {
  it('shows text that would be markup', () => {
    expect(markdownText('a | b <img src=x onerror=alert(1)> &lt; &')).toBe(
      'a \\| b &lt;img src=x onerror=alert(1)> &amp;lt; &',
    );
    expect(markdownText('[a](javascript:x) ![i](x) [a]: y')).toBe('[a\\](javascript:x) \\![i\\](x) [a\\]: y');
    expect(markdownText('*a* _b_ `c` ~~d~~ max_steps')).toBe('\\*a\\* \\_b\\_ \\`c\\` \\~\\~d\\~\\~ max_steps');
    for (const line of ['# a', '> a', '- a', '+ a', '---', '1. a', '2) a'])
      expect(markdownText(line)).not.toMatch(/^(?:#|>|[-+]|\d+[.)])/);
    expect(markdownText('x\n# y\n\n- z')).toBe('x # y  - z');
  });

  it('leaves numbers and names as they are', () => {
    for (const text of [
      '-0.5',
      '+0.12',
      '3.14',
      '0.7 [0.6, 0.8]',
      '1.2e-5',
      'r=8, lora_alpha=2r',
      'train.jsonl',
      '−0.3 ± 0.1',
    ])
      expect(markdownText(text)).toBe(text);
  });

  it('keeps a table a table and a fence a fence', () => {
    expect(markdownCell('a|b\nc\r\nd\\')).toBe('a\\|b<br>c<br>d\\\\');
    expect(markdownFence('x\n````\n# y', 'yaml')).toBe('`````yaml\nx\n````\n# y\n`````');
  });
});
