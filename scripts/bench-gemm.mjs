#!/usr/bin/env node
// Speed of the matrix products and of the linear layer on WASM, one thread; each is compared with stock ops before it is timed.
// Usage: npm run build && node scripts/bench-gemm.mjs [tokens]       Times are CPU times, so that a busy machine disturbs them less.
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';

const dist = process.env.LOWRANK_DIST ?? new URL('../dist/', import.meta.url).href;
const { linear, matmul, uploadDense, uploadQuantized, disposeWeight, withKernelMode } = await import(new URL('kernels/index.js', dist).href);
const { quantize4bit } = await import(new URL('src/quant/quantize.js', dist).href);

const TOKENS = Number(process.argv[2] ?? 512);
const SIZES = [[288, 288], [288, 768], [768, 288], [576, 1536]];
const RANK = 8;

const cpuMs = () => process.cpuUsage().user / 1000;

async function bench(name, flops, run) {
  const [own, stock] = [withKernelMode('auto', run), withKernelMode('reference', run)];
  const error = tf.tidy(() => tf.div(tf.max(tf.abs(tf.sub(own, stock))), tf.max(tf.abs(stock))));
  const [relative] = await error.data();
  tf.dispose([own, stock, error]);
  if (!(relative < 1e-5)) throw new Error(`${name} differs from stock ops by ${relative} of the largest value`);
  for (let i = 0; i < 3; i++) run().dispose();
  let runs = 0;
  const start = cpuMs();
  do {
    run().dispose();
    runs++;
  } while (cpuMs() - start < 300);
  const ms = (cpuMs() - start) / runs;
  console.log(`${name.padEnd(36)} ${ms.toFixed(3).padStart(8)} ms ${(flops / ms / 1e6).toFixed(1).padStart(6)} GFLOP/s`);
}

await tf.setBackend('wasm');
for (const [inner, out] of SIZES) {
  const values = Float32Array.from({ length: out * inner }, (_, i) => Math.sin(1.7 * i) / 20);
  const dense = uploadDense(values, [out, inner]);
  const packed = uploadQuantized(quantize4bit(values, [out, inner], { quantType: 'nf4', doubleQuant: true, dtype: 'BF16' }));
  const random = (...shape) => tf.randomNormal(shape);
  const [x, dy, a, b] = [random(TOKENS, inner), random(TOKENS, out), random(RANK, inner), random(out, RANK)];
  const size = `${TOKENS} x ${inner} x ${out}`;
  const flops = 2 * TOKENS * inner * out;
  const lora = { a, b, scale: 2 };
  await bench(`${size} nt`, flops, () => matmul(x, dense.values, 'nt'));
  await bench(`${size} nn`, flops, () => matmul(dy, dense.values, 'nn'));
  await bench(`${size} tn`, flops, () => matmul(dy, x, 'tn'));
  await bench(`${size} linear, nf4`, flops, () => linear(x, packed));
  await bench(`${size} linear, nf4 + rank ${RANK}`, flops + 2 * TOKENS * RANK * (inner + out), () => linear(x, packed, { lora }));
  tf.dispose([x, dy, a, b]);
  disposeWeight(dense);
  disposeWeight(packed);
}
