import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { gpuBackend } from '../../kernels/tfjs/webgpu.js';
import { setReplay } from '../../kernels/index.js';
import { BenchStep } from '../../src/bench/train-step.js';
import { openWebGpu, requestAdapter } from '../../src/device/webgpu.js';
import { describeBackends } from '../support/backends.js';
import { countDispatches } from '../support/dispatches.js';

const DIMS = { hidden: 32, heads: 4, kvHeads: 2, ffn: 48, vocab: 64, batch: 2, seq: 8 };

describeBackends('a step of LoRA on all seven linear layers', ['tiles'], () => {
  const steps = [1, 2].map((layers) => () => BenchStep.create({ ...DIMS, layers }, 4, 'none'));

  /** What one decoder layer more adds. */
  function perLayer(body: (step: BenchStep) => tf.Tensor[]): { own: number; stock: string[] } {
    const [one, two] = steps.map((make) => {
      const step = make();
      // What happens once only, like the tables of rotary positions, is not counted.
      tf.dispose(body(step));
      let made: tf.Tensor[] = [];
      const counted = countDispatches(() => (made = body(step)));
      tf.dispose(made);
      step.dispose();
      return counted;
    }) as [ReturnType<typeof countDispatches>, ReturnType<typeof countDispatches>];
    const stock = [...two.stock];
    for (const name of one.stock) stock.splice(stock.indexOf(name), 1);
    return { own: two.own - one.own, stock };
  }

  const training = (step: BenchStep): tf.Tensor[] => {
    const { loss, gradients } = step.gradients();
    return [loss, ...gradients];
  };

  it('takes 34 own dispatches a layer with eight buffers a shader, and one addition', () => {
    const { own, stock } = perLayer(training);
    expect(own).toBeLessThanOrEqual(34);
    expect(stock.length, stock.join()).toBeLessThanOrEqual(1);
  });

  it('updates the factors of a layer in no dispatch more', () => {
    const [without, withUpdate] = [perLayer(training), perLayer((step) => [step.run()])];
    expect(withUpdate.own).toBe(without.own);
    expect(withUpdate.stock.length, withUpdate.stock.join()).toBeLessThanOrEqual(1);
  });

  it('binds the same buffers in every step that is not replayed, so that its bind groups serve again', async () => {
    setReplay(false);
    const step = (steps[1] as () => BenchStep)();
    const { device } = gpuBackend();
    const create = device.createBindGroup.bind(device);
    const made: number[] = [];
    for (let i = 0; i < 4; i++) {
      let count = 0;
      device.createBindGroup = (descriptor) => {
        count++;
        return create(descriptor);
      };
      let loss: tf.Scalar | undefined;
      const { stock } = countDispatches(() => (loss = step.run()));
      device.createBindGroup = create;
      // tfjs makes one for each of its own programs.
      made.push(count - stock.length);
      await loss?.data();
      loss?.dispose();
    }
    expect(made[0]).toBeGreaterThan(0);
    expect(made.slice(2)).toEqual([0, 0]);
    step.dispose();
    setReplay(true);
  });

  // Four groups of layers share an input. Forward: 2 a group, 2 norms, one of which adds, 2 of attention, 1 of the MLP.
  // Backward: 2 a group, 5 of attention, 2 norms, which sum the gradients that meet there, 1 of the MLP.
  it('takes 29 on a device as users open it, where that binds 15 buffers', async (context) => {
    const adapter = (await requestAdapter(navigator.gpu)) as GPUAdapter;
    if (adapter.limits.maxStorageBuffersPerShaderStage < 15) context.skip();
    // In the place of the suite's own device: this test is the last.
    const device = await openWebGpu(adapter, 'for a test');
    expect(perLayer(training).own).toBeLessThanOrEqual(29);
    await device.close();
  });
});
