// Does what scripts/parity/peft.py asks for, in one process: node scripts/parity/driver.mjs JOBS.json RESULTS.json.
// Takes what `npm run build` made.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { loadAdapter, adapterFiles } from '../../src/adapters/peft/files.js';
import { METHODS } from '../../dist/src/adapters/registry.js';
import { loadConfig } from '../../dist/src/config/load.js';
import { openDevice } from '../../dist/src/device/open.js';
import { evaluateLoss } from '../../dist/src/eval/loss.js';
import { loadModel } from '../../dist/src/model/load.js';
import { trainedBase } from '../../dist/src/adapters/settings.js';
import { localDirectory, nodeHost } from '../../dist/src/node.js';
import { train } from '../../dist/src/train/loop.js';
import { VERSION } from '../../dist/src/version.js';

const [jobsFile, resultsFile] = process.argv.slice(2);
const { jobs, device: choice } = JSON.parse(await readFile(jobsFile, 'utf8'));

const examplesOf = (rows) =>
  rows.map(({ input_ids: ids, labels }, row) => ({
    inputIds: Int32Array.from(ids),
    labels: Int32Array.from(labels ?? ids),
    row,
    source: 'rows',
  }));

function trainingOf(settings) {
  const config = {
    model: './m',
    data: { train: './t.jsonl' },
    training: { output_dir: './o', logging_steps: 1, save_strategy: 'no', ...settings },
  };
  return loadConfig(JSON.stringify(config), 'parity').training;
}

function optionsOf(settings) {
  const config = { model: './m', data: { train: './t.jsonl' }, adapter: settings, training: { output_dir: './o' } };
  const { method, ...options } = loadConfig(JSON.stringify(config), 'parity').adapter;
  return { method, options };
}

/** Logits of a row, `[tokens, vocab]`, as base64 of float32. */
async function logitsOf(decoder, ids) {
  const logits = tf.tidy(() =>
    decoder.logits(decoder.hidden({ ids: tf.tensor1d(Int32Array.from(ids), 'int32'), batch: 1, length: ids.length })),
  );
  const values = await logits.data();
  logits.dispose();
  return {
    shape: logits.shape,
    data: Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64'),
  };
}

async function runJob(job) {
  const model = localDirectory(job.model);
  const made = job.make === undefined ? undefined : optionsOf(job.make);
  const config = await import('../../dist/src/model/load.js').then(({ readModelConfig }) => readModelConfig(model));
  const trainable = made === undefined ? undefined : trainedBase(config, { method: made.method, ...made.options });
  const decoder = await loadModel(model, { trainable, quantization: job.quantization });
  let adapter;
  try {
    if (made !== undefined) {
      adapter = METHODS[made.method].create(decoder, made.options, job.seed);
      await adapter.initialize?.();
    } else if (job.adapter !== undefined) {
      adapter = await loadAdapter(decoder, localDirectory(job.adapter));
    }
    const losses = [];
    if (job.training !== undefined) {
      await train({
        decoder,
        adapter,
        examples: examplesOf(job.rows),
        options: trainingOf(job.training),
        shuffle: false,
        callbacks: { onStep: ({ loss, grad_norm: norm }) => void losses.push({ loss, norm }) },
      });
    }
    if (job.out !== undefined) {
      await mkdir(job.out, { recursive: true });
      for (const [name, content] of Object.entries(await adapterFiles(adapter, { model: job.model })))
        await writeFile(join(job.out, name), content);
    }
    const logits = [];
    for (const ids of job.ids ?? []) logits.push(await logitsOf(decoder, ids));
    const { loss } = job.eval === undefined ? {} : await evaluateLoss(decoder, examplesOf(job.eval), 4);
    return { losses, logits, loss };
  } finally {
    adapter?.dispose();
    decoder.dispose();
  }
}

const device = await openDevice(choice, nodeHost);
const results = {};
for (const job of jobs) {
  try {
    results[job.name] = await device.guard(runJob(job));
  } catch (error) {
    results[job.name] = { error: `${error.name}: ${error.message}` };
  }
}
await writeFile(
  resultsFile,
  JSON.stringify({
    versions: { lowrank: VERSION, node: process.versions.node, '@tensorflow/tfjs': tf.version_core },
    device: `${device.name} (${device.description})`,
    results,
  }),
);
await device.close();
