import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatDuration, formatNumber } from '../src/format.js';
import { formatFields, formatTable } from '../src/cli/view/table.js';

describe('formats', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 2 - 1, '1 MiB'],
    [5.55 * 1024 ** 3, '5.55 GiB'],
    [123.4 * 1024 ** 2, '123 MiB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each([
    [0, '0'],
    [999, '999'],
    [999.7, '1k'],
    [1240, '1.24k'],
    [12_400_000, '12.4M'],
    [7_100_000_000, '7.1B'],
    [12.345, '12.3'],
  ])('a count of %d is %s', (count, text) => {
    expect(formatCount(count)).toBe(text);
  });

  it.each([
    [0.84, '0.8s'],
    [9.96, '10s'],
    [59.6, '1m00s'],
    [185, '3m05s'],
    [7620, '2h07m'],
    [Infinity, '?'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  it('shows small numbers with an exponent', () => {
    expect([2e-4, 0, 1.5, NaN].map(formatNumber)).toEqual(['2.00e-4', '0.0000', '1.5000', 'NaN']);
  });
});

describe('tables', () => {
  it('align their columns', () => {
    const table = formatTable(
      ['name', { title: 'size', align: 'right' }],
      [
        ['é', '1'],
        ['longer', '1234567'],
      ],
    );
    expect(table).toBe('name       size\n──────  ───────\né             1\nlonger  1234567\n');
  });

  const wide = (width: number): string[] =>
    formatTable(
      [
        'settings',
        { title: 'planned peak (MiB)', align: 'right' },
        ...['one', 'two', 'three', 'four'].map((title) => ({
          title: `${title}: measured score`,
          align: 'right' as const,
        })),
      ],
      [
        ['target_modules=q_proj,k_proj,v_proj,o_proj 設定', '1234.5', '0.1234 ± 0.0001', '1', '2', '3'],
        ['short', '', '4', '5', '6', '7'],
      ],
      width,
    )
      .trimEnd()
      .split('\n');

  it.each([60, 80, 120, 200])('fit %i columns, and leave nothing out', (width) => {
    const lines = wide(width);
    for (const line of lines) expect(stringWidth(line), line).toBeLessThanOrEqual(width);
    const text = lines.join(' ');
    for (const word of [
      '1234.5',
      '0.1234 ± 0.0001',
      'three:',
      'score',
      'target_modules=q_proj',
      'k_proj',
      'v_proj',
      'o_proj',
      '設定',
      '7',
    ])
      expect(text).toContain(word);
  });

  it('have no end where there is no terminal', () => {
    expect(wide(Infinity)).toEqual(wide(1000));
    expect(wide(Infinity)).toHaveLength(4);
  });

  it('count characters of two columns', () => {
    expect(
      formatTable(
        ['a', 'b'],
        [
          ['日本', 'x'],
          ['ab', 'y'],
          ['👩‍👩‍👧', 'z'],
        ],
      )
        .split('\n')
        .slice(2),
    ).toEqual(['日本  x', 'ab    y', '👩‍👩‍👧    z', '']);
  });

  it('wrap the values of fields under each other', () => {
    expect(
      formatFields(
        [
          ['name', 'one two three four five six'],
          ['b', 'x'],
        ],
        30,
      ),
    ).toBe('name  one two three four five\n      six\nb     x\n');
  });

  it('keep names and values apart', () => {
    expect(
      formatFields([
        ['rank', '8'],
        ['lora_alpha', '16'],
      ]),
    ).toBe('rank        8\nlora_alpha  16\n');
  });
});
