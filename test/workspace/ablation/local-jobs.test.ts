import { describe, expect, it } from 'vitest';
import type { RunEstimate } from '../../../src/ablation/estimate.js';
import type { AblationRun } from '../../../src/ablation/runs.js';
import type { Device } from '../../../src/device/device.js';
import { jobsFor, shareOut } from '../../../src/workspace/ablation/local-jobs.js';

const run = (rank: number): AblationRun =>
  ({ id: `r-${rank}`, settings: { r: rank }, seed: 1 }) as unknown as AblationRun;
const runs = [1, 2, 4, 8, 16, 32, 64, 128].map(run);
const estimates = (seconds: (rank: number) => number): RunEstimate[] =>
  runs.map((each) => ({ run: each, steps: 1, seconds: seconds(each.settings['r'] as number), peakBytes: 1 }));

describe('runs shared among processes', () => {
  it('take about the same time in each, every run in one of them and in its order', () => {
    const shares = shareOut(
      runs,
      2,
      estimates((rank) => 10 + rank / 10),
    );
    expect(
      shares
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual(runs.map(({ id }) => id).sort());
    const seconds = shares.map((share) =>
      share.reduce((sum, { settings }) => sum + 10 + (settings['r'] as number) / 10, 0),
    );
    // Dealt out like cards they would differ by twice as much.
    expect(Math.abs((seconds[0] as number) - (seconds[1] as number))).toBeLessThan(5);
    for (const share of shares) expect(share).toEqual(runs.filter((each) => share.includes(each)));
  });

  it('are as many in each where nothing is estimated', () => {
    expect(shareOut(runs, 4, []).map((share) => share.length)).toEqual([2, 2, 2, 2]);
    expect(shareOut(runs.slice(0, 1), 1, [])).toEqual([runs.slice(0, 1)]);
  });

  it('are so many as were asked for, and one for runs that are over at once', () => {
    const device = { name: 'wasm' } as Device;
    expect(jobsFor({ asked: 3, runs, device, estimates: [] })).toBe(3);
    expect(jobsFor({ asked: 30, runs, device, estimates: [] })).toBe(8);
    expect(jobsFor({ asked: undefined, runs, device, estimates: estimates(() => 0.5) })).toBe(1);
  });
});
