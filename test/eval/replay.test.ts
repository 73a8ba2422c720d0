import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { divergence } from '../../src/eval/divergence.js';
import { compareReplay, recordReplays } from '../../src/eval/replay.js';
import { memoryDirectory } from '../../src/io/directory.js';
import type { FrozenLinear } from '../../src/model/linear.js';
import { loadModel } from '../../src/model/load.js';
import { describeBackends } from '../support/backends.js';
import { tinyModelFiles } from '../support/tiny-model.js';

const load = (seed: number) => loadModel(memoryDirectory('tiny', tinyModelFiles(seed)));

describeBackends('replays', ['wasm', 'webgpu'], () => {
  it('are equal on the same model, and tell another one', async () => {
    const decoder = await load(1);
    const replays = await recordReplays(decoder, [[1, 5, 9], [7]], 6);
    // The first pass made the tables of RoPE.
    const before = tf.memory().numTensors;
    expect(await recordReplays(decoder, [[1, 5, 9], [7]], 6)).toEqual(replays);
    expect(replays.map((r) => r.margins.length)).toEqual(replays.map((r) => r.tokens.length));
    expect(replays.some((r) => r.tokens.length > 0)).toBe(true);
    expect(replays.flatMap((r) => r.margins).every((margin) => margin >= 0)).toBe(true);
    for (const replay of replays) {
      const outcome = await compareReplay(decoder, replay);
      expect(outcome).toMatchObject({ verdict: 'equal', equal: replay.tokens.length });
    }
    expect(tf.memory().numTensors).toBe(before);
    decoder.dispose();
    const other = await load(2);
    const outcomes = await Promise.all(replays.map((replay) => compareReplay(other, replay)));
    expect(outcomes.some(({ verdict }) => verdict === 'different')).toBe(true);
    // A margin below the tolerance says that rounding alone may have turned the choice.
    const [first] = replays as [(typeof replays)[number]];
    const tied = await compareReplay(other, {
      ...first,
      tokens: first.tokens.map((t) => (t + 1) % 32),
      margins: first.tokens.map(() => 1e-5),
    });
    expect(tied.verdict).toBe('near tie');
    other.dispose();
  });
});

describeBackends('divergence', ['wasm', 'webgpu'], () => {
  const rows = [
    [1, 2, 3, 4, 5],
    [9, 8, 7],
  ];

  it('is nothing where nothing changes', async () => {
    const decoder = await load(1);
    const same = await divergence(decoder, rows, () => undefined);
    expect(same).toEqual({ meanKl: 0, maxKl: 0, changedTop: 0, positions: 8 });
    decoder.dispose();
  });

  it('is KL(before ‖ after), by hand', async () => {
    const decoder = await load(1);
    const probabilities = async (): Promise<Float32Array[]> => {
      const made: Float32Array[] = [];
      for (const row of rows) {
        const p = tf.tidy(() =>
          tf.softmax(decoder.logits(decoder.hidden({ ids: tf.tensor1d(row, 'int32'), batch: 1, length: row.length }))),
        );
        made.push(new Float32Array(await p.data()));
        p.dispose();
      }
      return made;
    };
    const p = (await probabilities()).flatMap((a) => [...a]);
    const layer = decoder.linears.get('model.layers.1.mlp.down_proj') as FrozenLinear;
    const name = layer.name;
    const found = await divergence(decoder, rows, () => {
      decoder.linears.set(name, {
        name,
        inFeatures: 48,
        outFeatures: 32,
        forward: (x) => tf.tidy(() => tf.mul(layer.forward(x), 3)),
      });
    });
    const q = (await probabilities()).flatMap((a) => [...a]);
    const kls = Array.from({ length: 8 }, (_, i) =>
      p.slice(32 * i, 32 * i + 32).reduce((sum, a, k) => sum + a * Math.log(a / (q[32 * i + k] as number)), 0),
    );
    expect(found.meanKl).toBeCloseTo(kls.reduce((a, b) => a + b) / 8, 5);
    expect(found.maxKl).toBeCloseTo(Math.max(...kls), 5);
    expect(found.meanKl).toBeGreaterThan(1e-3);
    decoder.dispose();
  });
});
