import { describe, expect, it } from 'vitest';
import { hardwareFlops, stepFlops } from '../../src/bench/shapes.js';
import { benchStep, type StepBenchOptions } from '../../src/bench/step.js';
import { renderStep, type BenchHeading } from '../../src/cli/view/bench-report.js';
import type { Device } from '../../src/device/device.js';
import { describeBackends } from '../support/backends.js';

const DIMS = { hidden: 16, layers: 2, heads: 4, kvHeads: 2, ffn: 24, vocab: 37, batch: 2, seq: 9 };
const STEP: StepBenchOptions = { dims: DIMS, rank: 3, quantize: 'none', kernels: 'auto', steps: 2, warmup: 1 };
const DEVICE: Device = {
  name: 'wasm',
  backend: 'wasm',
  description: '',
  reason: '',
  software: false,
  features: [],
  guard: (work) => work,
  close: () => Promise.resolve(),
};
const HEADING: BenchHeading = {
  ...{
    bench: 'step',
    engine: 'lowrank',
    version: '0',
    versions: { node: '0', tfjs: '0' },
    device: 'wasm',
    description: 'any',
    software: false,
  },
  ...{ features: [], threads: 1, shape: 'tiny', variant: null },
};

describeBackends('rates of a step', ['wasm'], () => {
  it.each([false, true])(
    'tells what is needed apart from what is computed, gradient checkpointing %s',
    async (gradientCheckpointing) => {
      const report = await benchStep(DEVICE, { ...STEP, gradientCheckpointing });
      expect(report.flop_per_step).toBe(stepFlops(DIMS));
      expect(report.hardware_flop_per_step).toBe(hardwareFlops(DIMS, 3, gradientCheckpointing));
      expect(report.hardware_gflops).toBeCloseTo(
        hardwareFlops(DIMS, 3, gradientCheckpointing) / report.step_ms_median / 1e6,
      );
      expect(report.gflops).toBeCloseTo(stepFlops(DIMS) / report.step_ms_median / 1e6);
      const text = renderStep({ ...HEADING, ...report });
      expect(text).toContain(`${report.gflops.toFixed(1)} GFLOP/s`);
      expect(text).toContain(`${report.hardware_gflops?.toFixed(1)} GFLOP/s of all that is computed`);
    },
  );

  it('does not say what stock ops compute', async () => {
    const report = await benchStep(DEVICE, { ...STEP, kernels: 'reference' });
    expect(report).toMatchObject({
      flop_per_step: stepFlops(DIMS),
      hardware_flop_per_step: null,
      hardware_gflops: null,
    });
    expect(renderStep({ ...HEADING, ...report })).not.toContain('of all that is computed');
  });
});

describe('hardware FLOPs', () => {
  it('grow with the rank', () => {
    expect(hardwareFlops(DIMS, 8, false)).toBeGreaterThan(hardwareFlops(DIMS, 4, false));
  });
});
