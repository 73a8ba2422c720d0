import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { METHODS } from '../../src/adapters/registry.js';
import { localDirectory } from '../../src/io/node.js';
import { loadModel } from '../../src/model/load.js';
import { AdamW } from '../../src/train/optimizers/resident.js';
import { trainStep } from '../../src/train/step.js';
import { describeBackends } from '../support/backends.js';
import { readTensors } from '../support/goldens.js';
import { numpyUniform } from '../support/numpy-random.js';
import { describeReferences, referencePath } from '../support/references.js';

/** Twenty steps of a real model against plain PyTorch; its own float32 and float64 runs agree to 8e-7. */
const TOLERANCE = 1e-3;

interface Reference {
  readonly input_ids: number[][];
  readonly labels: number[][];
  readonly exps: Record<
    string,
    {
      readonly args: {
        readonly targets: string[];
        readonly r: number;
        readonly alpha: number;
        readonly rslora?: boolean;
        readonly quant?: string;
      };
      readonly f64: {
        readonly final_loss: number;
        readonly steps: { readonly lr: number; readonly loss: number; readonly grad_norm_before_clip: number }[];
      };
    }
  >;
}

const folder = referencePath('reference/stories-lora');

describeReferences('twenty steps', ['reference/stories-lora', 'models/tinystories-656k'], () =>
  describeBackends('on a real model', ['wasm', 'webgpu'], () => {
    const {
      input_ids: ids,
      labels,
      exps,
    } = JSON.parse(readFileSync(join(folder, 'reference.json'), 'utf8')) as Reference;

    it.each(Object.keys(exps))('%s', async (name) => {
      const { args, f64 } = exps[name] as Reference['exps'][string];
      const decoder = await loadModel(localDirectory(referencePath('models/tinystories-656k')), {
        quantization: args.quant === undefined ? undefined : { quantType: 'nf4' },
      });
      const adapter = METHODS.lora.create(
        decoder,
        {
          r: args.r,
          lora_alpha: args.alpha,
          lora_dropout: 0,
          target_modules: args.targets,
          use_rslora: args.rslora ?? false,
          init_lora_weights: true,
        },
        0,
      );
      // The reference draws A with numpy, target by target in each layer in the order of `targets`; its init file holds
      // the trained A.
      const uniform = numpyUniform(1234);
      for (let layer = 0; layer < decoder.config.numLayers; layer++) {
        for (const target of args.targets) {
          const a = adapter.parameters.find(
            ({ key }) => key.includes(`.layers.${layer}.`) && key.endsWith(`.${target}.lora_A.weight`),
          )?.variable as tf.Variable;
          const values = Float32Array.from({ length: a.size }, () => uniform() / Math.sqrt(a.shape[1] as number));
          tf.tidy(() => a.assign(tf.tensor(values, a.shape)));
        }
      }
      const seq = (ids[0] as number[]).length;
      const batch = {
        inputIds: Int32Array.from(ids.flat()),
        labels: Int32Array.from(labels.flat()),
        batch: ids.length,
        seq,
        supervisedCount: labels.flat().filter((label, i) => label !== -100 && i % seq !== 0).length,
      };
      const parameters = adapter.parameters.map((p) => p.variable);
      const optimizer = new AdamW(parameters, {
        adam_beta1: 0.9,
        adam_beta2: 0.999,
        adam_epsilon: 1e-8,
        weight_decay: 0.01,
      });
      for (const [s, step] of f64.steps.entries()) {
        const report = await trainStep(decoder, optimizer, parameters, [batch], {
          learningRate: step.lr,
          maxGradNorm: 1,
        });
        const [loss, norm] = await report.data();
        report.dispose();
        expect(Math.abs((loss as number) - step.loss), `loss of step ${s}`).toBeLessThanOrEqual(TOLERANCE);
        expect(Math.abs((norm as number) / step.grad_norm_before_clip - 1), `norm of step ${s}`).toBeLessThanOrEqual(
          TOLERANCE,
        );
      }
      const final = await readTensors(join(folder, name, 'adapter_model.safetensors'));
      let checked = 0;
      for (const { key, variable } of adapter.parameters) {
        const expected = final.get(key)?.values as Float32Array;
        const actual = await variable.data();
        expected.forEach((value, i) =>
          expect(Math.abs((actual[i] as number) - value), key).toBeLessThanOrEqual(TOLERANCE),
        );
        checked += expected.length;
      }
      expect(checked).toBeGreaterThan(0);
      optimizer.dispose();
      adapter.dispose();
      decoder.dispose();
    });
  }),
);
