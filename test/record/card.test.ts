import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runConfigSchema } from '../../src/config/schema.js';
import { modelCard } from '../../src/record/card.js';
import type { TrainingRecord } from '../../src/record/record.js';

const record = (name: string, files: Record<string, string> = {}, device = 'cpu'): TrainingRecord => ({
  format: 1,
  versions: { lowrank: '1.0.0' },
  device,
  base: { name, revision: null, model_type: 'llama', files: {}, quantization: null },
  tokenizer: {},
  data: [{ part: 'train', rows: 4, tokens: 40, supervised_tokens: 20, files }],
  parameters: { trainable: 10, total: 100 },
  results: { steps: 1, train_loss: 1.5 },
  replays: [],
});
const config = (more: object = {}): Parameters<typeof modelCard>[1] =>
  runConfigSchema.parse({ model: 'm', data: { train: 'rows.jsonl', ...more }, training: { output_dir: 'o' } });

/** The front matter, and the rest. */
function partsOf(card: string): { front: Record<string, unknown>; body: string } {
  const [, front = '', body = ''] = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/.exec(card) ?? [];
  return { front: parse(front) as Record<string, unknown>, body };
}

const HOSTILE = [
  'a`b`c',
  '``` fence',
  'a|b|c',
  '<script>alert(1)</script>',
  '[x](http://evil)',
  'x\n---\nlicense: mit\n---\n# Owned',
  'x\r\n---\r\nevil: 1',
  '---',
  '"quoted"',
  "it's",
  'a: b',
  '- item',
  '\u202egnp.exe',
  '\x1b[2J',
];

describe('a model card', () => {
  it.each(HOSTILE)(
    'keeps its shape with %j as name of the base, of a file, of the device, and of a data set',
    (hostile) => {
      const card = modelCard(
        record(`/models/${hostile}`, { [hostile]: '0'.repeat(64) }, hostile),
        config(),
        { name: 'lora', loads: 'peft' },
        ['org/data', hostile],
      );
      const { front, body } = partsOf(card);
      expect(front).toEqual({
        library_name: 'peft',
        datasets: ['org/data'],
        pipeline_tag: 'text-generation',
        tags: ['lora', 'lowrank'],
      });
      // Headings are those of the card, outside of its code.
      const prose = body.replace(/^(`{3,})[a-z]*\n[\s\S]*?\n\1$/gm, '');
      expect(
        prose
          .split('\n')
          .filter((line) => line.startsWith('#'))
          .map((line) => line.replace(/ for .*/, '')),
      ).toEqual(['# lora adapter', '## Data', '## Settings', '## Results', '## Use', '## Versions']);
      expect(prose).not.toMatch(/<(?!br>)|^---$|(?<!\\)`/m);
      expect(card).not.toMatch(/[\x1b\u202e]/);
      // One row of the table, of five cells.
      const row = prose.split('\n').find((line) => line.startsWith('| train |')) as string;
      expect(row.replaceAll('\\|', '').split('|')).toHaveLength(7);
      expect(prose).not.toMatch(/\[x\]\(/);
    },
  );

  it.each(HOSTILE)('keeps its shape with %j as a setting', (hostile) => {
    const card = modelCard(record('org/base'), config({ template: hostile }), { name: 'lora', loads: 'peft' });
    const fences = [...card.matchAll(/^(`{3,})yaml\n([\s\S]*?)\n\1$/gm)];
    expect(fences).toHaveLength(1);
    const shown = (parse(fences[0]?.[2] as string) as { data: { template: string } }).data.template;
    // Control characters are shown as JSON writes them.
    if (!/[\x1b\u202e\r]/.test(hostile)) expect(shown).toBe(hostile);
    expect(partsOf(card).front).toMatchObject({ base_model: 'org/base' });
    expect(card.split('\n').filter((line) => line === '## Results')).toHaveLength(1);
  });

  it('names no folder of the machine', () => {
    const card = modelCard(
      record('/home/someone/models/base', {
        '/home/someone/rows.jsonl': '0'.repeat(64),
        'C:\\data\\more.jsonl': '1'.repeat(64),
      }),
      config({ chat_template: '/home/someone/chat.jinja' }),
      { name: 'lora', loads: 'peft' },
    );
    expect(card).not.toMatch(/\/home|someone|C:/);
    expect(card).toContain('rows.jsonl, more.jsonl');
  });
});
