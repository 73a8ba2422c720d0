#!/usr/bin/env node
// Pretrains the quickstart's base model from nothing on text that corpus.mjs makes, with this package's own kernels and
// optimiser, and writes model.safetensors (float16). Needs a build (`npm run build`); Node 24 computes faster than 20.
// Interrupted (Ctrl-C), it writes what it has. Of questions and reviews --focus of the rows have their loss on the
// answers alone: of all tokens these are few, and most of what is hard to learn. Names are drawn without end, so that
// no answer can be learnt by heart. The model in configs/quickstart/base is of ten runs, each with a warm-up and a cosine
// to zero, some interrupted soon after the step named. Each continues from the model of the run before (A to I):
//   node scripts/quickstart-model/pretrain.mjs --steps 6000 --lr 2e-3 -o A                                  (step 2725)
//   ... --from A --stage second --seed 2 --steps 3000 --lr 1.5e-3 -o B                                      (step 2250)
//   ... --from B --stage third --seed 3 --steps 3300 --lr 1.2e-3 -o C
//   ... --from C --stage fourth --seed 4 --steps 800 --lr 8e-4 -o D
//   ... --from D --stage fifth --seed 5 --steps 3400 --lr 1.2e-3 -o E                                       (step 500)
//   ... --from E --stage sixth --seed 6 --steps 3000 --lr 1.2e-3 -o F                                       (step 1675)
//   ... --from F --stage seventh --seed 7 --steps 650 --lr 7e-4 -o G
//   ... --from G --stage eighth --seed 8 --steps 3600 --lr 1e-3 -o H                                        (step 800)
//   ... --from H --stage ninth --seed 9 --steps 5000 --lr 1e-3 -o I                                         (step 1475)
//   ... --from I --stage tenth --seed 10 --steps 1000 --lr 8e-4
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { pretrainingRows, rowsOf } from './corpus.mjs';
import { initialWeights } from './initial.mjs';

const { values: args } = parseArgs({
  options: {
    dist: { type: 'string', default: resolve('dist') },
    steps: { type: 'string', default: '6000' },
    batch: { type: 'string', default: '8' },
    length: { type: 'string', default: '224' },
    lr: { type: 'string', default: '2e-3' },
    seed: { type: 'string', default: '1' },
    device: { type: 'string', default: 'wasm' },
    output: { type: 'string', short: 'o', default: resolve('configs/quickstart/base') },
    from: { type: 'string' },
    focus: { type: 'string', default: '0.8' },
    stage: { type: 'string', default: 'first' },
    probe: { type: 'string', default: '250' },
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
const { AdamW } = await use('src/train/optimizers/resident.js');
const { trainStep } = await use('src/train/step.js');
const { learningRateFactor } = await use('src/train/schedule.js');
const { completePrompts } = await use('src/eval/complete.js');
const { Random } = await use('src/random.js');

/** The first rounds of 2000 rows are mostly echoes: copying is what all else is built on. */
const COPYING_ROUNDS = 4;
const steps = Number(args.steps);
const [batch, length, seed] = [Number(args.batch), Number(args.length), Number(args.seed)];
const base = resolve('configs/quickstart/base');
const configText = readFileSync(join(base, 'config.json'), 'utf8');
const config = parseModelConfig(JSON.parse(configText));
const tokenizer = await loadTokenizer(localDirectory(base));
const device = await openDevice(args.device, nodeHost);

const decoder = await loadModel(
  args.from === undefined
    ? memoryDirectory('initial', { 'config.json': configText, 'model.safetensors': initialFile() })
    : localDirectory(args.from),
  { trainable: () => true },
);
const parameters = namedParameters(decoder);
const variables = parameters.map((p) => p.variable);
const optimizer = new AdamW(variables, { adam_beta1: 0.9, adam_beta2: 0.98, adam_epsilon: 1e-8, weight_decay: 0.02 });
const tokens = tokenStream();
let stop = false;
process.on('SIGINT', () => (stop = true));
let [shown, loss, started, done] = [0, 0, performance.now(), 0];
for (let step = 0; step < steps && !stop; step++) {
  const packed = nextBatch();
  const learningRate = Number(args.lr) * learningRateFactor('cosine', step, 100, steps);
  const report = await trainStep(decoder, optimizer, variables, [packed], {
    learningRate,
    maxGradNorm: 1,
    lossOptions: () => ({ headGradient: true }),
  });
  const [value, norm] = await report.data();
  report.dispose();
  if (!Number.isFinite(value)) throw new Error(`step ${step}: the loss is ${value}`);
  loss += value;
  shown++;
  done++;
  if ((step + 1) % 25 === 0) {
    const rate = (shown * batch * length) / ((performance.now() - started) / 1000);
    console.log(
      `step ${step + 1}/${steps}  loss ${(loss / shown).toFixed(4)}  norm ${norm.toFixed(2)}  ${rate.toFixed(0)} tokens/s  tensors ${tf.memory().numTensors}`,
    );
    [shown, loss, started] = [0, 0, performance.now()];
  }
  if ((step + 1) % Number(args.probe) === 0) console.log(`step ${step + 1}: ${await probe()}`);
  if ((step + 1) % 500 === 0) await save();
  await new Promise((done) => setTimeout(done, 0));
}
await save();
console.log(`written after ${done} steps`);
await device.close();

function initialFile() {
  const shape = { ...config, theta: config.rope.theta };
  const tensors = initialWeights(shape, expectedTensors(config), (name) => new Random(seed, name));
  return encodeSafetensors(
    Object.fromEntries(Array.from(tensors, ([name, { shape: sizes, values }]) => [name, float32Tensor(sizes, values)])),
    { format: 'pt' },
  );
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

/**
 * Rows as {ids, labels} with the end token, without end; fresh text all the time. Labels are −100 where nothing is
 * learnt.
 */
function* tokenStream() {
  const draw = new Random(seed, 'focus');
  for (let round = 0; ; round++) {
    for (const row of pretrainingRows(
      2000,
      seed * 1000 + round,
      args.stage === 'first' && round < COPYING_ROUNDS ? 'copying' : args.stage,
    )) {
      const ids = [];
      const labels = [];
      pieces(row, draw.uniform() < Number(args.focus)).forEach((piece, i) => {
        const encoded = piece === '' ? [] : tokenizer.encode(piece);
        ids.push(...encoded);
        labels.push(...(i % 2 === 1 ? encoded : encoded.map(() => -100)));
      });
      yield { ids: [...ids, tokenizer.eosTokenId], labels: [...labels, tokenizer.eosTokenId] };
    }
  }
}

/** Text without and with a loss by turns. Tokens never reach over a cut: the pieces encode as the row does. */
function pieces({ prompt, completion, task, pieces: given }, focused) {
  if (given !== undefined) return given;
  if (task === 'echo' || (task === 'sentiment' && focused)) return [prompt, completion];
  if (task === 'question' && focused) return (prompt + completion).split(/(?<=Answer:)( [^\n]*\n?)/);
  return ['', prompt + completion];
}

/**
 * Of rows that no training has seen, in percent: questions answered word for word, and how far echoes go before the
 * first mistake.
 */
async function probe() {
  const exact = await complete('question', 12, ['\n'], (text, truth) => (text.trim() === truth.trim() ? 1 : 0));
  const echoed = await complete(
    'echo',
    64,
    [],
    (text, truth) => [...text, ''].findIndex((c, i) => c !== truth.trim()[i]) / truth.trim().length,
  );
  return `questions ${exact.toFixed(0)} %  echoes ${echoed.toFixed(0)} %`;
}

async function complete(task, maxNewTokens, stopStrings, score) {
  const rows = rowsOf(task, 60, 77, 'held-out');
  const texts = await completePrompts(
    decoder,
    tokenizer,
    rows.map((row) => row.prompt),
    { maxNewTokens, batchSize: 30, stopStrings },
  );
  return (100 * texts.reduce((sum, text, i) => sum + score(text, rows[i].completion), 0)) / rows.length;
}

/** Rows packed side by side (first fit over a small window), each attending to itself alone. */
function nextBatch() {
  const inputIds = new Int32Array(batch * length).fill(tokenizer.padTokenId ?? 0);
  const labels = new Int32Array(batch * length).fill(-100);
  const starts = Int32Array.from({ length: batch * length }, (_, i) => i % length);
  let supervisedCount = 0;
  const used = new Array(batch).fill(0);
  for (let misses = 0; misses < 4;) {
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
    tensors[name] = {
      dtype: 'F16',
      shape: variable.shape,
      bytes: new Uint8Array(half.buffer, half.byteOffset, half.byteLength),
    };
  }
  mkdirSync(args.output, { recursive: true });
  if (resolve(args.output) !== base)
    for (const file of readdirSync(base))
      if (!file.endsWith('.safetensors')) copyFileSync(join(base, file), join(args.output, file));
  writeFileSync(join(args.output, 'model.safetensors'), encodeSafetensors(tensors, { format: 'pt' }));
}
