import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { benchDrift } from '../../src/bench/drift.js';
import { benchGrowth, fitLine } from '../../src/bench/growth.js';
import { modelConfigOf, type Dims } from '../../src/bench/shapes.js';
import { benchLora } from '../../src/bench/train-step.js';
import { planMemory } from '../../src/plan/memory.js';
import { describeBackends } from '../support/backends.js';
import { expectNoLeak } from '../support/numeric.js';

const DIMS = { hidden: 16, layers: 2, heads: 4, kvHeads: 2, ffn: 24, vocab: 37, batch: 2, seq: 8 };
const MODEL = { dims: DIMS, rank: 3, quantize: 'nf4' } as const;

describe('fitLine', () => {
  it('finds the line that points lie on', () => {
    const points = [10, 20, 80].map((tokens) => ({ tokens, step_ms: 3 + 0.5 * tokens }));
    const { fixed_ms, ms_per_token } = fitLine(points);
    expect(fixed_ms).toBeCloseTo(3, 9);
    expect(ms_per_token).toBeCloseTo(0.5, 9);
  });

  it('goes through the origin where there is one size', () => {
    expect(fitLine([{ tokens: 8, step_ms: 4 }])).toEqual({ fixed_ms: 0, ms_per_token: 0.5 });
  });
});

for (const backend of ['wasm', 'webgpu'] as const) {
  describeBackends('long and large runs', [backend], () => {
    const plannedBytes = (dims: Dims): number =>
      planMemory({
        ...{
          model: modelConfigOf(dims),
          backend,
          batch: dims.batch,
          seq: dims.seq,
          accumulation: 1,
          gradientCheckpointing: false,
          optim: 'adamw',
        },
        quantization: { quantType: 'nf4', doubleQuant: true },
        adapter: { method: 'lora', ...benchLora(3) },
      }).total;

    let cpu = 0;
    it('grow as measured beside the plan, and leave nothing behind', async () => {
      await expectNoLeak(async () => {
        // Weights and activations that are large beside what a kernel has for itself.
        const dims = { ...DIMS, hidden: 96, ffn: 256, vocab: 1000 };
        const report = await benchGrowth({
          ...MODEL,
          dims,
          steps: 2,
          warmup: 1,
          tokens: [8, 16, 32],
          lengths: [64, 200],
          plannedBytes,
          processCpuMs: () => (cpu += 3),
        });
        expect(report.time.map(({ cpu_ms }) => cpu_ms)).toEqual([3, 3, 3]);
        expect(report.cpu_line?.worst_deviation).toBeCloseTo(0, 9);
        expect(report.adapters.cpu_overhead).toBe(0);
        expect(report.time.map(({ tokens }) => tokens)).toEqual([8, 16, 32]);
        for (const { tokens, step_ms, tokens_per_second } of report.time)
          expect(tokens_per_second).toBeCloseTo((1000 * tokens) / step_ms, 6);
        expect(report.line.worst_deviation).toBe(Math.max(...report.time.map(({ deviation }) => Math.abs(deviation))));
        expect(report.memory.map(({ length }) => length)).toEqual([64, 200]);
        for (const { planned_bytes, measured_bytes, ratio } of report.memory) {
          expect(ratio).toBe(measured_bytes / planned_bytes);
          expect(ratio).toBeGreaterThan(0.9);
          expect(ratio).toBeLessThan(1.1);
        }
        expect(report.memory[1]?.measured_bytes).toBeGreaterThan(report.memory[0]?.measured_bytes as number);
        const { rank, without_ms, with_ms, overhead } = report.adapters;
        expect(rank).toBe(16);
        expect(overhead).toBeCloseTo(with_ms / without_ms - 1, 9);
      });
    });

    it('keep as many tensors to the end', async () => {
      const steps: number[] = [];
      await expectNoLeak(async () => {
        const report = await benchDrift({
          ...MODEL,
          steps: 20,
          warmup: 2,
          processBytes: () => ({ resident: 100 + steps.length, heap: 50 }),
          onStep: (step) => steps.push(step),
        });
        expect(steps).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
        expect(report.tenths.map(({ step }) => step)).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
        expect(report.drift).toMatchObject({ tensors: 0, tensor_bytes: 0, cpu_ms: null, heap_bytes: 0 });
        // 100.5 after the first two steps, 118.5 after the last.
        expect(report.drift.resident_bytes).toBeCloseTo(118.5 / 100.5 - 1, 9);
        expect(report.tenths.every(({ device_bytes, paced }) => (device_bytes ?? 0) > 0 && paced > 0)).toBe(true);
        expect(report.drift.paced).toBeCloseTo(
          (report.tenths[9]?.paced ?? NaN) / (report.tenths[0]?.paced ?? NaN) - 1,
          9,
        );
      });
      expect(tf.getBackend()).toBe(backend);
    });
  });
}
