#!/usr/bin/env node
// Pretrains the quickstart's base model from nothing on text that corpus.mjs makes, with this package's own kernels and optimiser,
// and writes configs/quickstart/base/model.safetensors (float16). Needs a build (`npm run build`).
//   node scripts/quickstart-model/pretrain.mjs [--steps 6000] [--batch 6] [--length 192] [--lr 3e-3] [--device wasm] [-o FOLDER]
// Interrupted (Ctrl-C), it writes what it has. A second run `--from FOLDER --focus` goes on with the loss on the answers of questions and
// reviews alone, and fewer stories: of all tokens the answers are a few in a hundred, and most of what is hard to learn.
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { pretrainingRows } from './corpus.mjs';

const { values: args } = parseArgs({
  options: {
    dist: { type: 'string', default: resolve('dist') },
    steps: { type: 'string', default: '6000' },
    batch: { type: 'string', default: '6' },
    length: { type: 'string', default: '192' },
    lr: { type: 'string', default: '3e-3' },
    seed: { type: 'string', default: '1' },
    device: { type: 'string', default: 'wasm' },
    output: { type: 'string', short: 'o', default: resolve('configs/quickstart/base') },
    from: { type: 'string' },
    focus: { type: 'boolean', default: false },
  },
});
const use = (path) => import(join(resolve(args.dist), path));
const { openDevice } = await use('src/device/open.js');
const { nodeHost } = await use('src/device/node.js');
const { localDirectory } = await use('src/io/node.js');
const { encodeSafetensors } = await use('src/io/safetensors.js');
const { float32ToFloat16 } = await use('src/io/half.js');
const { loadTokenizer } = await use('src/tokenizer/tokenizer.js');
const { loadModel } = await use('src/model/load.js');
const { expectedTensors } = await use('src/model/tensors.js');
const { parseModelConfig } = await use('src/model/config.js');
const { memoryDirectory } = await use('src/io/directory.js');
const { float32Tensor } = await use('src/io/safetensors.js');
const { AdamW } = await use('src/train/optimizer.js');
const { trainStep } = await use('src/train/step.js');
const { learningRateFactor } = await use('src/train/schedule.js');
const { Random } = await use('src/random.js');

const steps = Number(args.steps);
const [batch, length, seed] = [Number(args.batch), Number(args.length), Number(args.seed)];
const base = resolve('configs/quickstart/base');
const configText = readFileSync(join(base, 'config.json'), 'utf8');
const config = parseModelConfig(JSON.parse(configText));
const tokenizer = await loadTokenizer(localDirectory(base));
const device = await openDevice(args.device, nodeHost);

const decoder = await loadModel(args.from === undefined ? memoryDirectory('initial', { 'config.json': configText, 'model.safetensors': initialWeights() }) : localDirectory(args.from), { trainable: true });
const parameters = namedParameters(decoder);
const variables = parameters.map((p) => p.variable);
const optimizer = new AdamW(variables, { adam_beta1: 0.9, adam_beta2: 0.98, adam_epsilon: 1e-8, weight_decay: 0.02 });
const tokens = tokenStream();
let stop = false;
process.on('SIGINT', () => (stop = true));
let [shown, loss, started] = [0, 0, performance.now()];
for (let step = 0; step < steps && !stop; step++) {
  const packed = nextBatch();
  const learningRate = Number(args.lr) * learningRateFactor('cosine', step, 100, steps);
  const report = await trainStep(decoder, optimizer, variables, [packed], { learningRate, maxGradNorm: 1, lossOptions: () => ({ headGradient: true }) });
  const [value, norm] = await report.data();
  report.dispose();
  if (!Number.isFinite(value)) throw new Error(`step ${step}: the loss is ${value}`);
  loss += value;
  shown++;
  if ((step + 1) % 50 === 0) {
    const rate = (shown * batch * length) / ((performance.now() - started) / 1000);
    console.log(`step ${step + 1}/${steps}  loss ${(loss / shown).toFixed(4)}  norm ${norm.toFixed(2)}  ${rate.toFixed(0)} tokens/s  tensors ${tf.memory().numTensors}`);
    [shown, loss, started] = [0, 0, performance.now()];
  }
  if ((step + 1) % 500 === 0) await save();
  await new Promise((done) => setTimeout(done, 0));
}
await save();
await device.close();

/** Linear layers and embedding normal with deviation 0.02, those that write to the residual stream smaller by √(2·layers); norms one. */
function initialWeights() {
  const tensors = {};
  for (const [name, shape] of expectedTensors(config)) {
    const random = new Random(seed, name);
    const size = shape.reduce((a, b) => a * b, 1);
    const residual = /o_proj|down_proj/.test(name);
    const deviation = residual ? 0.02 / Math.sqrt(2 * config.numLayers) : 0.02;
    const values = shape.length === 1 ? new Float32Array(size).fill(1) : Float32Array.from({ length: size }, () => random.normal() * deviation);
    tensors[name] = float32Tensor(shape, values);
  }
  return encodeSafetensors(tensors, { format: 'pt' });
}

function namedParameters({ weights, config: { family } }) {
  const { modules } = family;
  const list = [{ name: `${modules.embedding}.weight`, variable: weights.embedding }];
  for (const [name, layer] of weights.linears) list.push({ name: `${name}.weight`, variable: layer.weight.values });
  weights.norms.forEach((norms, i) => {
    list.push({ name: `${modules.layer(i)}.${modules.attentionNorm}.weight`, variable: norms.attention.weight });
    list.push({ name: `${modules.layer(i)}.${modules.mlpNorm}.weight`, variable: norms.mlp.weight });
  });
  list.push({ name: `${modules.finalNorm}.weight`, variable: weights.finalNorm.weight });
  return list;
}

/** Rows as {ids, labels} with the end token, without end; fresh text all the time. Labels are −100 where nothing is learnt. */
function* tokenStream() {
  const draw = new Random(seed, 'focus');
  for (let round = 0; ; round++) {
    for (const { prompt, completion, task } of pretrainingRows(4000, seed * 1000 + round)) {
      const text = prompt + completion;
      if (args.focus && task === 'story' && draw.uniform() < 0.8) continue;
      // Answers start with a blank, and tokens never reach over it: pieces encode as the whole does.
      const pieces = args.focus && task !== 'story' ? text.split(/(?<=Answer:|Sentiment:)( [^\n]*)/) : ['', text];
      const ids = [];
      const labels = [];
      pieces.forEach((piece, i) => {
        const encoded = piece === '' ? [] : tokenizer.encode(piece);
        ids.push(...encoded);
        labels.push(...(i % 2 === 1 ? encoded : encoded.map(() => -100)));
      });
      yield { ids: [...ids, tokenizer.eosTokenId], labels: [...labels, tokenizer.eosTokenId] };
    }
  }
}

/** Rows packed side by side (first fit over a small window), each attending to itself alone. */
function nextBatch() {
  const inputIds = new Int32Array(batch * length).fill(tokenizer.padTokenId ?? 0);
  const labels = new Int32Array(batch * length).fill(-100);
  const starts = Int32Array.from({ length: batch * length }, (_, i) => i % length);
  let supervisedCount = 0;
  const used = new Array(batch).fill(0);
  for (let misses = 0; misses < 4; ) {
    const row = tokens.next().value;
    const ids = row.ids.slice(0, length);
    const b = used.findIndex((n) => n + ids.length <= length);
    if (b < 0) {
      misses++;
      continue;
    }
    const at = b * length + used[b];
    inputIds.set(ids, at);
    labels.set(row.labels.slice(1, length), at + 1);
    starts.fill(used[b], at, at + ids.length);
    supervisedCount += row.labels.slice(1, length).filter((label) => label !== -100).length;
    used[b] += ids.length;
  }
  return { inputIds, labels, starts, batch, seq: length, supervisedCount };
}

async function save() {
  const tensors = {};
  for (const { name, variable } of parameters) {
    const half = float32ToFloat16(await variable.data());
    tensors[name] = { dtype: 'F16', shape: variable.shape, bytes: new Uint8Array(half.buffer, half.byteOffset, half.byteLength) };
  }
  mkdirSync(args.output, { recursive: true });
  if (resolve(args.output) !== base) for (const file of readdirSync(base)) if (!file.endsWith('.safetensors')) copyFileSync(join(base, file), join(args.output, file));
  writeFileSync(join(args.output, 'model.safetensors'), encodeSafetensors(tensors, { format: 'pt' }));
}
