import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { AblationRun } from '../../../src/ablation/runs.js';
import { createAblationProgress } from '../../../src/cli/view/ablation-progress.js';
import type { ProgressStream } from '../../../src/cli/view/progress.js';

class Capture extends Writable {
  text = '';
  constructor(
    readonly isTTY: boolean,
    readonly rows = 24,
    readonly columns = 100,
  ) {
    super();
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

const runs = [1, 2, 4].map((r) => ({ id: `r-${r}_seed-7`, settings: { r }, seed: 7 }) as unknown as AblationRun);
const [first, second, third] = runs as [AblationRun, AblationRun, AblationRun];

/** What a terminal shows in the end: text, line feeds, and the two codes that the table is drawn anew with. */
function screen(text: string): string[] {
  let lines: string[] = [''];
  for (const [, up, , plain] of text.matchAll(/\u001b\[(\d+)A|(\u001b\[0J)|([^\u001b]+)/g)) {
    if (up !== undefined) lines = [...lines.slice(0, lines.length - 1 - Number(up)), ''];
    else if (plain !== undefined)
      plain.split('\n').forEach((line, i) => (i === 0 ? (lines[lines.length - 1] += line) : lines.push(line)));
  }
  return lines;
}

function play(stream: Capture): void {
  const progress = createAblationProgress(runs, () => 61, stream as unknown as ProgressStream);
  progress.set(first, { state: 'done', validation: 2.25 });
  progress.set(second, { state: 'runs', totalSteps: 20, step: 0 });
  progress.set(second, { step: 5, loss: 3.5, tokensPerSecond: 1240 });
  progress.log('a note');
  progress.set(second, { validation: 3.25 });
  progress.set(second, { state: 'done', step: 20, validation: 3 });
  progress.set(third, { state: 'runs', totalSteps: 20, step: 0 });
  progress.set(third, { state: 'failed' });
  progress.stop();
}

describe('the progress of an ablation', () => {
  it.each([60, 80])('cuts settings, and nothing else, to fit %i columns', (columns) => {
    const stream = new Capture(true, 24, columns);
    const run = {
      id: 'a',
      settings: { target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'], learning_rate: 1e-4 },
      seed: 7,
    } as unknown as AblationRun;
    const progress = createAblationProgress([run], () => 61, stream as unknown as ProgressStream);
    progress.set(run, { state: 'done', totalSteps: 20, step: 20, loss: 3.5, validation: 2.25, tokensPerSecond: 1240 });
    progress.stop();
    const lines = screen(stream.text);
    for (const line of lines) expect(line.length).toBeLessThan(columns);
    expect(lines.find((line) => line.includes('…'))).toMatch(/^targ.*7 {2}done {3}20\/20 {2}3\.5000 +2\.2500 +1\.24k$/);
  });

  it('is one table on a terminal, drawn over itself, with lines above it', () => {
    const stream = new Capture(true);
    play(stream);
    const lines = screen(stream.text);
    expect(lines.filter((line) => line === 'a note')).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith('run '))).toHaveLength(1);
    const [note, title, ...rows] = lines.map((line) => line.trim());
    expect(note).toBe('a note');
    expect(title?.split(/\s+/)).toEqual(['run', 'seed', 'state', 'step', 'loss', 'validation', 'tokens/s']);
    expect(rows.filter((row) => row.startsWith('r=')).map((row) => row.split(/\s{2,}/))).toEqual([
      ['r=1', '7', 'done', '2.2500'],
      ['r=2', '7', 'done', '20/20', '3.5000', '3.0000', '1.24k'],
      ['r=4', '7', 'failed', '0/20'],
    ]);
    expect(rows.at(-2)).toMatch(/^3 of 3 runs, .* of about 1m01s$/);
    expect(rows.at(-1)).toBe('');
  });

  it('shows the part of a long table that is being worked on, no line longer than the terminal', () => {
    const stream = new Capture(true, 10);
    const many = Array.from(
      { length: 40 },
      (_, i) =>
        ({
          id: `${i}`,
          settings: { r: i + 1, target_modules: Array.from({ length: 12 }, () => 'q_proj') },
          seed: 1,
        }) as unknown as AblationRun,
    );
    const progress = createAblationProgress(many, () => undefined, stream as unknown as ProgressStream);
    progress.set(many[30] as AblationRun, { state: 'runs', totalSteps: 5, step: 1 });
    progress.stop();
    const lines = screen(stream.text);
    expect(lines.length).toBeLessThanOrEqual(10);
    expect(lines.some((line) => line.startsWith('r=31,'))).toBe(true);
    expect(lines.some((line) => line.startsWith('r=1,'))).toBe(false);
    for (const line of lines) expect(line.length).toBeLessThan(100);
  });

  it('is plain lines on a pipe, of beginnings, validations and ends', () => {
    const stream = new Capture(false);
    play(stream);
    expect(stream.text.trimEnd().split('\n')).toEqual([
      'run 2/3 r-2_seed-7: begins at step 0 of 20',
      'a note',
      'run 2/3 r-2_seed-7: step 5/20  validation loss 3.2500',
      'run 2/3 r-2_seed-7: done, validation loss 3.0000, 1.24k tokens/s',
      'run 3/3 r-4_seed-7: begins at step 0 of 20',
      'run 3/3 r-4_seed-7: failed',
    ]);
  });
});
