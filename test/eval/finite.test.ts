import { expect, it } from 'vitest';
import { divergence } from '../../src/eval/divergence.js';
import { generate } from '../../src/eval/generate.js';
import { likelihoods } from '../../src/eval/likelihood.js';
import { evaluateLoss } from '../../src/eval/loss.js';
import { loadDataset } from '../../src/data/dataset.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { encodeSafetensors, float32Tensor, SafetensorsFile } from '../../src/io/safetensors.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel } from '../../src/model/load.js';
import { describeBackends } from '../support/backends.js';
import { countingRows, tinyModelFiles } from '../support/tiny-model.js';

/** A model whose weights are finite and whose activations overflow. */
async function overflowing(): Promise<Decoder> {
  const files = tinyModelFiles();
  const source = await memoryDirectory('tiny', files).open('model.safetensors');
  if (source === undefined) throw new Error('no weights');
  const file = await SafetensorsFile.open(source);
  const tensors = new Map(
    await Promise.all([...file.tensors.keys()].map(async (key) => [key, await file.read(key)] as const)),
  );
  tensors.set(
    'lm_head.weight',
    float32Tensor(
      [32, 32],
      new Float32Array(1024).map((_, i) => (i % 2 === 0 ? 3e38 : -3e38)),
    ),
  );
  return loadModel(
    memoryDirectory('tiny', { ...files, 'model.safetensors': encodeSafetensors(tensors, { format: 'pt' }) }),
  );
}

describeBackends('a model that computes what is not finite', ['wasm', 'cpu'], () => {
  it('generates nothing, rates nothing and has no loss', async () => {
    const decoder = await overflowing();
    const { examples } = await loadDataset({ source: { name: 'rows', rows: countingRows(3, 1) } });
    const rated = { ids: [1, 2, 3], promptLength: 1 };
    for (const work of [
      () => generate(decoder, [[1, 2, 3]], { maxNewTokens: 2 }),
      () => generate(decoder, [[1, 2, 3]], { maxNewTokens: 2, temperature: 1 }),
      () => likelihoods(decoder, [rated]),
      () => evaluateLoss(decoder, examples, 2),
      () => divergence(decoder, [[1, 2, 3]], () => undefined),
    ]) {
      await expect(work()).rejects.toThrow(/ is (?:-?Infinity|NaN): activations overflow/);
    }
    decoder.dispose();
  });
});
