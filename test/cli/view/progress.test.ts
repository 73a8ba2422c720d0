import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createProgress, type ProgressStream } from '../../../src/cli/view/progress.js';

class Capture extends Writable {
  text = '';
  constructor(
    readonly isTTY: boolean,
    readonly columns = 120,
  ) {
    super();
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

const report = { loss: 2.5, learningRate: 1e-4, tokensPerSecond: 1240 };

describe('createProgress', () => {
  it('writes the first, the last and every n-th step as a line where there is no terminal', () => {
    const stream = new Capture(false);
    const progress = createProgress({ stream: stream as ProgressStream, every: 4 });
    progress.start(10);
    for (let step = 1; step <= 10; step++) {
      progress.step({ ...report, step });
      if (step === 5) progress.log('eval_loss 2.4');
    }
    progress.stop();
    const lines = stream.text.trimEnd().split('\n');
    expect(lines.map((line) => line.split('  ')[0])).toEqual([
      'step 1/10',
      'step 4/10',
      'eval_loss 2.4',
      'step 8/10',
      'step 10/10',
    ]);
    expect(lines[0]).toMatch(/^step 1\/10 {2}loss 2\.5000 {2}lr 1\.00e-4 {2}1\.24k tokens\/s {2}ETA \d/);
    expect(lines.at(-1)).not.toContain('ETA');
  });

  it('starts where a resumed run starts', () => {
    const stream = new Capture(false);
    const progress = createProgress({ stream: stream as ProgressStream, every: 100 });
    progress.start(10, 6);
    progress.step({ ...report, step: 7 });
    expect(stream.text).toMatch(/^step 7\/10 /);
  });

  it('draws a bar on a terminal, with lines above it, and leaves signals alone', () => {
    const stream = new Capture(true);
    const listeners = process.listenerCount('SIGINT');
    const progress = createProgress({ stream: stream as ProgressStream });
    progress.log('before');
    progress.start(4);
    expect(process.listenerCount('SIGINT')).toBe(listeners);
    progress.step({ ...report, step: 2 });
    progress.log('eval_loss 2.4');
    progress.step({ ...report, step: 4 });
    progress.stop();
    expect(stream.text).toMatch(/^before\n/);
    expect(stream.text).toContain('eval_loss 2.4\n');
    expect(stream.text).toContain('4/4  loss 2.5000  lr 1.00e-4  1.24k tokens/s');
  });

  it.each([
    [200, /^█{24} 4000\/4000  loss 2\.5000  lr 1\.00e-4  1\.24k tokens\/s  ETA \S+$/],
    [80, /^█{8,24} 4000\/4000  loss 2\.5000  lr 1\.00e-4  1\.24k tokens\/s  ETA \S+$/],
    [60, /^█{8,24} 4000\/4000  loss 2\.5000  1\.24k tokens\/s  ETA \S+$/],
    [45, /^█{8,24} 4000\/4000  loss 2\.5000  ETA \S+$/],
    [20, /^4000\/4000  loss/],
  ])('fits %i columns', (columns, line) => {
    const stream = new Capture(true, columns);
    const progress = createProgress({ stream: stream as ProgressStream });
    progress.start(4000);
    progress.step({ ...report, step: 4000 });
    progress.stop();
    const lines = stream.text
      .replace(/\x1b\[\??\d*[A-Za-z]/g, '\n')
      .split(/[\r\n]/)
      .map((each) => each.trim())
      .filter((each) => each !== '');
    expect(lines.at(-1)).toMatch(line);
    for (const each of lines) expect(each.length).toBeLessThan(columns);
  });
});
