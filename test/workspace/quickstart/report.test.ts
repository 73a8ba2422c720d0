import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readForgetting } from '../../../src/workspace/quickstart/full-finetuning.js';
import type { Measured } from '../../../src/workspace/quickstart/measure.js';
import { formatQuickstart, SUGGESTED } from '../../../src/cli/view/quickstart-report.js';

const SPLIT_NAMES = resolve('scripts/quickstart-model/names.mjs');
const rows = { summaries: 60, questions: 100, sentiment: 40, stories: 40 };
const sample = {
  prompt: `Dialogue:\nAnna: ${'That is a very long remark. '.repeat(5)}\nBen: Yes.\nSummary:`,
  reference: 'Anna wants to meet Ben in the garden on Monday because she has a present for him.',
  completion: 'Anna wants to meet Ben in the garden on Monday because she has a present for him too.',
};
const measured = (share: number): Measured => ({
  names: share,
  when: share,
  rougeL: share,
  questions: 1 - share / 10,
  sentiment: 1,
  stories: share,
  samples: [sample, { ...sample, completion: '' }],
  rows,
});

describe('what the quickstart prints', () => {
  const text = formatQuickstart({
    before: measured(0),
    after: measured(0.95),
    full: { before: 0.95, after: 0.2 },
    adapter: 'out/quickstart',
    adapterBytes: 800_000,
    seconds: 100,
  });

  it('fits 80 columns', () => {
    expect(text.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(text.split('\n').filter((line) => line !== line.trimEnd())).toEqual([]);
  });

  it('has one scale for all scores, with signs that agree', () => {
    expect(text).toMatch(/both names right \(60 summaries\) +0\.0 +95\.0 +\+95\.0\n/);
    expect(text).toMatch(/questions about a text, exact \(100\) +100\.0 +90\.5 +−9\.5\n/);
    expect(text).toMatch(/sentiment .*\(40\) +100\.0 +100\.0 +0\.0\n/);
    expect(text).toContain('points: 9.5 by this adapter, 75.0 by full fine-tuning');
  });

  it('suggests dialogues with names that training never met', async () => {
    const { splitOfName } = (await import(SPLIT_NAMES)) as { splitOfName: (name: string) => string };
    const train = readFileSync('configs/quickstart/train.jsonl', 'utf8');
    for (const { lines, says } of SUGGESTED) {
      for (const line of lines) expect(text).toContain(`\n${line}\n`);
      const names = new Set(lines.map((line) => line.slice(0, line.indexOf(':'))));
      expect(names.size).toBe(2);
      for (const name of names) {
        expect(splitOfName(name), name).toBe('held-out');
        expect(train).not.toContain(name);
        expect(says).toContain(name);
      }
    }
  });

  it('compares with what was measured of full fine-tuning', async () => {
    const { before, after } = await readForgetting('configs/quickstart/full.json');
    expect(before).toBeGreaterThan(0.85);
    // Whether anything is forgotten is a result: at this learning rate the included base loses no point.
    expect(after).toBeGreaterThan(0.85);
    expect(after).toBeLessThanOrEqual(before);
    const { how } = JSON.parse(readFileSync('configs/quickstart/full.json', 'utf8')) as { how: string };
    expect(how, 'measured behind the last step').not.toContain('stopped');
  });
});
