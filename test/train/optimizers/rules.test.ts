import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { valuesOf } from '../../../src/model/variable.js';
import { Random } from '../../../src/random.js';
import { createOptimizer, OPTIMIZERS, type OptimizerType } from '../../../src/train/optimizers/registry.js';
import { ResidentOptimizer } from '../../../src/train/optimizers/resident.js';
import { describeBackends } from '../../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../../support/numeric.js';

const SHAPES = [[7, 33], [5], [130], [1, 1]];
const SCALES = [1, 4, 1, 0.5];
const SPARED = [false, true, false, false];
const STEPS = 6;
const GRADIENT_SCALE = 0.7;

type Options = Parameters<typeof createOptimizer>[2];

/** A parameter and its slots in float64. */
interface Exact {
  readonly p: Float64Array;
  readonly slots: Float64Array[];
}

/** One update of one value: the new value and slots, as torch's and bitsandbytes' sources write it. */
type Formula = (
  p: number,
  g: number,
  slots: readonly number[],
  of: { lr: number; wd: number; step: number; options: Options },
) => [number, ...number[]];

const adamw: Formula = (p, g, [m = 0, v = 0], { lr, wd, step, options }) => {
  const { adam_beta1: b1, adam_beta2: b2, adam_epsilon: epsilon } = options;
  const [nextM, nextV] = [b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g];
  const corrected = Math.sqrt(nextV / (1 - b2 ** step)) + epsilon;
  return [p * (1 - lr * wd) - (lr * (nextM / (1 - b1 ** step))) / corrected, nextM, nextV];
};

const lion: Formula = (p, g, [m = 0], { lr, wd, options }) => {
  const { adam_beta1: b1, adam_beta2: b2 } = options;
  return [p * (1 - lr * wd) - lr * Math.sign(b1 * m + (1 - b1) * g), b2 * m + (1 - b2) * g];
};

const sgd: Formula = (p, g, [buffer = 0], { lr, wd, step, options: { momentum = 0 } }) => {
  const d = g + wd * p;
  // torch begins with a copy of the first gradient.
  const next = momentum === 0 ? d : step === 1 ? d : momentum * buffer + d;
  return momentum === 0 ? [p - lr * next] : [p - lr * next, next];
};

const FORMULAS: Record<OptimizerType, Formula> = {
  adamw,
  paged_adamw: adamw,
  lion_32bit: lion,
  paged_lion_32bit: lion,
  sgd,
};

const BASE = { adam_beta1: 0.9, adam_beta2: 0.99, adam_epsilon: 1e-8, weight_decay: 0.1 };
const CASES: [string, OptimizerType, Options, string[]][] = [
  ['AdamW', 'adamw', BASE, ['exp_avg', 'exp_avg_sq']],
  ['paged AdamW', 'paged_adamw', BASE, ['exp_avg', 'exp_avg_sq']],
  ['Lion', 'lion_32bit', BASE, ['exp_avg']],
  ['Lion without decay', 'lion_32bit', { ...BASE, weight_decay: 0 }, ['exp_avg']],
  ['paged Lion', 'paged_lion_32bit', BASE, ['exp_avg']],
  ['gradient descent', 'sgd', BASE, []],
  ['gradient descent with momentum', 'sgd', { ...BASE, momentum: 0.9 }, ['momentum_buffer']],
];

describeBackends('an optimiser', ['cpu', 'wasm', 'webgpu'], () => {
  it.each(CASES)('%s has the weights and slots of its formula in float64', async (_, type, options, names) => {
    await expectNoLeak(async () => {
      const random = new Random(21, type);
      const parameters = SHAPES.map((shape) => {
        const tensor = tf.tensor(normals(random, tf.util.sizeFromShape(shape)), shape);
        const variable = tf.variable(tensor);
        tensor.dispose();
        return variable;
      });
      expect(OPTIMIZERS[type].rule(options).slots.map(({ name }) => name)).toEqual(names);
      const exact = await Promise.all(
        parameters.map(async (parameter): Promise<Exact> => {
          const p = Float64Array.from(await parameter.data());
          return { p, slots: names.map(() => new Float64Array(p.length)) };
        }),
      );
      const optimizer = createOptimizer(type, parameters, options, { learningRateScales: SCALES, spared: SPARED });
      for (let step = 1; step <= STEPS; step++) {
        const learningRate = 0.02 / step;
        const values = SHAPES.map((shape) => normals(random, tf.util.sizeFromShape(shape), 0.1));
        const gradients = values.map((of, i) => tf.tensor(of, SHAPES[i]));
        const scale = tf.scalar(GRADIENT_SCALE);
        await optimizer.step(gradients, learningRate, scale);
        tf.dispose([gradients, scale]);
        exact.forEach(({ p, slots }, i) => {
          const lr = learningRate * (SCALES[i] as number);
          const wd = SPARED[i] === true ? 0 : options.weight_decay;
          p.forEach((value, k) => {
            const g = (values[i]?.[k] as number) * GRADIENT_SCALE;
            const before = slots.map((slot) => slot[k] as number);
            const [next, ...after] = FORMULAS[type](value, g, before, { lr, wd, step, options });
            p[k] = next;
            slots.forEach((slot, s) => (slot[k] = after[s] as number));
          });
        });
      }
      const state = await optimizer.state();
      expect(state.steps).toBe(STEPS);
      for (const [i, { p, slots }] of exact.entries()) {
        expectClose(await (parameters[i] as tf.Variable).data(), p, 2e-6);
        expect(Object.keys(state.slots[i] ?? {})).toEqual(names);
        names.forEach((name, s) => {
          expectClose(state.slots[i]?.[name] as Float32Array, slots[s] as Float64Array, 2e-6);
        });
      }
      optimizer.dispose();
      tf.dispose(parameters);
    });
  });
});

describeBackends('flat memory', ['webgpu'], () => {
  it.each(['adamw', 'lion_32bit'] as const)(
    'of %s gives the bits of tensors apart, also in several blocks',
    async (type) => {
      const shapes = [
        [1100, 1000],
        [3, 5],
      ];
      const updated = async (flat: boolean): Promise<Float32Array[]> => {
        const random = new Random(5, 'blocks');
        const variables = shapes.map((shape) =>
          tf.variable(tf.tensor(normals(random, tf.util.sizeFromShape(shape)), shape)),
        );
        const optimizer = flat
          ? createOptimizer(type, variables, BASE)
          : new ResidentOptimizer(OPTIMIZERS[type].rule(BASE), variables);
        for (let step = 0; step < 2; step++) {
          const gradients = shapes.map((shape) => tf.tensor(normals(random, tf.util.sizeFromShape(shape)), shape));
          await optimizer.step(gradients, 0.01, 0.5);
          tf.dispose(gradients);
        }
        const values = await Promise.all(variables.map(async (variable) => (await valuesOf(variable)).slice()));
        optimizer.dispose();
        tf.dispose(variables);
        return values;
      };
      const [flat, apart] = [await updated(true), await updated(false)] as [Float32Array[], Float32Array[]];
      flat.forEach((values, i) => {
        expect(Buffer.compare(Buffer.from(values.buffer), Buffer.from((apart[i] as Float32Array).buffer))).toBe(0);
      });
    },
  );
});
