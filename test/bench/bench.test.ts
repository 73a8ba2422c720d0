import * as tf from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, it } from 'vitest';
import { kernelMode, kernelVariant, setKernelVariant, withGpuClock } from '../../kernels/index.js';
import { backendVariants } from '../../kernels/runtime/variant.js';
import { benchKernels } from '../../src/bench/kernels.js';
import { kernelCases } from '../../src/bench/kernel-cases.js';
import { settle } from '../../src/bench/measure.js';
import { dimsList, stepFlops } from '../../src/bench/shapes.js';
import { benchStep, type StepBenchOptions } from '../../src/bench/step.js';
import type { Device } from '../../src/device/device.js';
import { DeviceError } from '../../src/errors.js';
import { describeBackends } from '../support/backends.js';
import { expectNoLeak } from '../support/numeric.js';

const DIMS = { hidden: 16, layers: 2, heads: 4, kvHeads: 2, ffn: 24, vocab: 37, batch: 2, seq: 9 };
const STEP: StepBenchOptions = { dims: DIMS, rank: 3, quantize: 'none', kernels: 'auto', steps: 3, warmup: 1 };
const KERNELS = { dims: DIMS, rank: 3, againstReference: false, minMs: 0, variant: 'f32' } as const;

const device = (name: 'wasm' | 'webgpu'): Device => ({
  ...{ name, backend: name, description: '', reason: '', software: false, features: [] },
  guard: (work) => work,
  close: () => Promise.resolve(),
});

for (const backend of ['wasm', 'webgpu'] as const) {
  // A GPU emulated in software takes most of its time to compile shaders: it does not go through every op.
  const slow = backend === 'webgpu';
  describeBackends('bench', [backend], () => {
    let restore: (() => void) | undefined;
    afterEach(() => {
      restore?.();
      restore = undefined;
    });

    /** Gives an op's own kernel, not its reference, a result that is slightly off. */
    function breakKernel(kernelName: string): void {
      const good = tf.getKernel(kernelName, backend);
      const broken: tf.KernelConfig = {
        kernelName,
        backendName: backend,
        kernelFunc: (args) => {
          const result = good.kernelFunc(args);
          if (kernelMode() === 'reference') return result;
          const [first, ...others] = (Array.isArray(result) ? result : [result]) as tf.TensorInfo[];
          const engine = tf.engine();
          const y = engine.makeTensorFromTensorInfo(first as tf.TensorInfo);
          const wrong = tf.mul(y, 1.01);
          return Array.isArray(result) ? [wrong, ...others] : wrong;
        },
      };
      tf.unregisterKernel(kernelName, backend);
      tf.registerKernel(broken);
      restore = () => {
        tf.unregisterKernel(kernelName, backend);
        tf.registerKernel(good);
      };
    }

    it('measures a step: every field, and nothing left behind', async () => {
      await expectNoLeak(async () => {
        const report = await benchStep(device(backend), {
          ...STEP,
          quantize: 'nf4',
          peakGflops: 10,
          processPeakBytes: () => 123,
          processCpuMs: () => 5,
        });
        expect(report).toMatchObject({
          dims: dimsList(DIMS),
          rank: 3,
          quant: 'nf4',
          kernels: 'auto',
          steps: 3,
          warmup: 1,
          flop_per_step: stepFlops(DIMS),
          peak_bytes: 123,
          cpu_ms_median: 0,
        });
        expect(report.check?.loss_difference).toBeLessThan(1e-4);
        expect(report.check?.gradient_difference).toBeLessThan(1e-4);
        expect(report.step_ms_min).toBeLessThanOrEqual(report.step_ms_median);
        expect(report.step_ms_median).toBeLessThanOrEqual(report.step_ms_max);
        expect(report.host_ms_median).toBeLessThanOrEqual(report.step_ms_max);
        expect(report.tokens_per_second).toBeCloseTo((18 * 1000) / report.step_ms_median);
        expect(report.gflops).toBeCloseTo(stepFlops(DIMS) / report.step_ms_median / 1e6);
        expect(report.peak_share).toBeCloseTo(report.gflops / 10);
        // Random logits: the loss is near that of guessing.
        expect(Math.abs(report.loss - Math.log(DIMS.vocab))).toBeLessThan(1);
        expect(report.kernel_runs).toBeGreaterThan(50);
        expect(report.slowest_kernels.map((k) => k.name)).toContain('LowrankLinear');
        expect(report.peak_tensor_bytes).toBeGreaterThan(4 * DIMS.vocab * DIMS.hidden);
        expect(report.device_bytes).toBeGreaterThan(0);
        expect(report.dispatches === null).toBe(backend !== 'webgpu');
        if (backend === 'webgpu') expect(report.dispatches).toBeGreaterThan(20);
      });
    });

    it.skipIf(slow)('keeps less of a step with gradient checkpointing, for the same loss and gradients', async () => {
      const deep = { ...STEP, dims: { ...DIMS, layers: 6, batch: 8, seq: 32 } };
      const [kept, recomputed] = [
        await benchStep(device(backend), deep),
        await benchStep(device(backend), { ...deep, gradientCheckpointing: true }),
      ];
      expect([kept.gradient_checkpointing, recomputed.gradient_checkpointing]).toEqual([false, true]);
      expect(recomputed.check?.gradient_difference).toBeLessThan(1e-4);
      expect(recomputed.loss).toBe(kept.loss);
      expect(recomputed.kernel_runs).toBeGreaterThan(kept.kernel_runs);
      expect(recomputed.peak_tensor_bytes).toBeLessThan(kept.peak_tensor_bytes);
    });

    it.skipIf(slow)('times stock ops too, without a check', async () => {
      expect(await benchStep(device(backend), { ...STEP, kernels: 'reference' })).toMatchObject({
        check: null,
        kernels: 'reference',
      });
    });

    it('does not time a step with a wrong kernel', async () => {
      breakKernel('LowrankSwiglu');
      await expect(benchStep(device(backend), STEP)).rejects.toThrow(DeviceError);
      await expect(benchStep(device(backend), STEP)).rejects.toThrow(
        /is not timed: it differs from stock ops by .* in the loss/,
      );
    });

    it('measures every op, forward and backward, and leaves nothing behind', async () => {
      const name = slow ? 'linear q' : '';
      await expectNoLeak(async () => {
        const results = await benchKernels({ ...KERNELS, op: name, againstReference: true });
        const expected = kernelCases(DIMS, 3).filter(({ op }) => op.includes(name));
        expect(results).toMatchObject(expected.map(({ op, pass, weight, size }) => ({ op, pass, weight, size })));
        for (const result of results) {
          expect(result.error).toBeLessThan(1e-4);
          expect(result.ms).toBeGreaterThan(0);
          expect(result.reference_ms).toBeGreaterThan(0);
          expect((result.gflops ?? result.gbps ?? 0) > 0).toBe(true);
        }
        for (const op of slow ? ['linear q'] : ['linear q', 'attention', 'rmsNorm', 'swiglu'])
          expect(results.filter((r) => r.op === op).map((r) => r.pass)).toContain('backward');
      });
    });

    it('times the other ops and names the wrong one', async () => {
      breakKernel('LowrankSwigluGrad');
      const timed: string[] = [];
      const run = benchKernels({ ...KERNELS, op: 'swiglu', onResult: ({ op, pass }) => timed.push(`${op} ${pass}`) });
      await expect(run).rejects.toThrow(/not timed, because they differ from stock ops: swiglu backward( f32)? by /);
      expect(timed).toEqual(['swiglu forward']);
    });

    it('knows its ops', async () => {
      await expect(benchKernels({ ...KERNELS, op: 'nothing' })).rejects.toThrow(
        /no such op; there are linear q, .*adamw/,
      );
    });
  });
}

describeBackends('kernel variants', ['webgpu'], () => {
  it.each([
    ['quantizedMatmul', ['f32', 'f16', 'subgroup-matrix', 'lanes']],
    ['matmul thin', ['f32', 'f16', 'subgroups', 'lanes']],
    ['rmsNorm', ['f32', 'subgroups', 'lanes']],
    ['layerNorm', ['f32', 'subgroups', 'lanes']],
    ['attention', ['f32', 'subgroups', 'lanes']],
    ['crossEntropy', ['f32', 'subgroups', 'subgroup-matrix', 'lanes']],
    ['rowLogProbabilities', ['f32', 'subgroups', 'subgroup-matrix', 'lanes']],
    ['globalNorm', ['f32', 'subgroups', 'lanes']],
    ['embedding', ['f32', 'subgroups', 'lanes']],
  ] as const)('%s is checked and timed as each that it has', async (op, wanted) => {
    // A width of more than one workgroup, and no multiple of one.
    const results = await benchKernels({ ...KERNELS, dims: { ...DIMS, hidden: 80 }, op, variant: 'auto' });
    const expected = wanted.filter((variant) => backendVariants(tf.backend()).includes(variant));
    expect([...new Set(results.map(({ variant }) => variant))]).toEqual(expected);
    for (const { error, variant } of results)
      expect(error).toBeLessThan(variant === 'f16' || variant === 'subgroup-matrix' ? 3e-3 : 1e-5);
    // float16 tiles must have been there at all.
    const half = results.filter(({ variant }) => variant === 'f16');
    if (half.length > 0) expect(Math.max(...half.map(({ error }) => error))).toBeGreaterThan(1e-5);
    expect(kernelVariant()).toBe('auto');
  });

  it('a step is checked with each', async () => {
    for (const variant of backendVariants(tf.backend())) {
      setKernelVariant(variant);
      try {
        const { check } = await benchStep(device('webgpu'), { ...STEP, quantize: 'nf4', steps: 1 });
        expect(check?.gradient_difference).toBeLessThan(
          variant === 'f16' || variant === 'subgroup-matrix' ? 1e-2 : 1e-4,
        );
      } finally {
        setKernelVariant('auto');
      }
    }
  });
});

describeBackends('withGpuClock', ['webgpu'], () => {
  it('takes the time of the passes of its body alone', async () => {
    const work = async (): Promise<void> => {
      const y = tf.tidy(() => tf.matMul(tf.ones([64, 64]), tf.ones([64, 64])));
      await y.data();
      y.dispose();
    };
    await work();
    const { times } = await withGpuClock(tf.backend(), work);
    expect(times?.passes).toBeGreaterThan(0);
    expect(times?.busyMs).toBeLessThanOrEqual((times?.spanMs ?? 0) + 1e-6);
    expect((await withGpuClock(tf.backend(), () => Promise.resolve(7))).value).toBe(7);
    await settle();
  });
});

describe('withGpuClock', () => {
  it('has no times elsewhere', async () => {
    expect(await withGpuClock({}, () => Promise.resolve(7))).toEqual({ value: 7, times: undefined });
  });
});
