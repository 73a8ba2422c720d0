import { expect, it } from 'vitest';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { encodeSafetensors, type TensorBytes } from '../../src/io/safetensors.js';
import { parseModelConfig } from '../../src/model/config.js';
import { expectedTensors, linearLayers, resolveNames } from '../../src/model/tensors.js';
import { TINY_CONFIG } from '../support/tiny-model.js';

const CONFIG = parseModelConfig(TINY_CONFIG);
const BYTES: Readonly<Record<string, number>> = { F32: 4, F16: 2, I32: 4, I8: 1, F8_E4M3: 1, U8: 1 };

function tensor(dtype: TensorBytes['dtype'], ...shape: number[]): TensorBytes {
  const size = shape.reduce((product, n) => product * n, BYTES[dtype] as number);
  return { dtype, shape, bytes: new Uint8Array(size) };
}

/** What a format stores for the weight of a linear layer, `[out, in]`, by its ending. */
type Store = (out: number, width: number) => Readonly<Record<string, TensorBytes>>;

const GPTQ: Store = (out, width) => ({
  qweight: tensor('I32', width / 8, out),
  qzeros: tensor('I32', 1, out / 8),
  scales: tensor('F16', 1, out),
  g_idx: tensor('I32', width),
});
const AWQ: Store = (out, width) => ({
  qweight: tensor('I32', width, out / 8),
  qzeros: tensor('I32', 1, out / 8),
  scales: tensor('F16', 1, out),
});
const FP8: Store = (out, width) => ({
  weight: tensor('F8_E4M3', out, width),
  weight_scale_inv: tensor('F32', 1, 1),
});
const COMPRESSED_FP8: Store = (out, width) => ({
  weight: tensor('F8_E4M3', out, width),
  weight_scale: tensor('F32', out, 1),
});
const COMPRESSED_INT4: Store = (out, width) => ({
  weight_packed: tensor('I32', out, width / 8),
  weight_scale: tensor('F16', out, 1),
});
const INT8: Store = (out, width) => ({
  weight: tensor('I8', out, width),
  SCB: tensor('F32', out),
  weight_format: tensor('U8'),
});
const FLOATS: Store = (out, width) => ({ weight: tensor('F16', out, width) });

async function resolve(store: Store): Promise<number> {
  const linear = new Set(linearLayers(CONFIG).map(({ name }) => name));
  const tensors = new Map<string, TensorBytes>();
  for (const [name, shape] of expectedTensors(CONFIG)) {
    const layer = name.replace(/\.weight$/, '');
    if (!linear.has(layer) || layer === 'lm_head') tensors.set(name, tensor('F32', ...shape));
    else
      for (const [part, stored] of Object.entries(store(shape[0] as number, shape[1] as number)))
        tensors.set(`${layer}.${part}`, stored);
  }
  // config.json says nothing of it.
  const files = { 'model.safetensors': encodeSafetensors(tensors) };
  const checkpoint = await openCheckpoint(memoryDirectory('m', files));
  return resolveNames(CONFIG, checkpoint).size;
}

it.each([
  ['GPTQ', GPTQ, 'GPTQ or AWQ'],
  ['AWQ', AWQ, 'GPTQ or AWQ'],
  ['fp8 in blocks', FP8, 'fp8 or compressed-tensors'],
  ['fp8 by rows', COMPRESSED_FP8, 'fp8 or compressed-tensors'],
  ['int4 of compressed-tensors', COMPRESSED_INT4, 'fp8 or compressed-tensors'],
  ['bitsandbytes in 8 bits', INT8, 'bitsandbytes in 8 bits (LLM.int8)'],
] as const)('%s is named by its tensors where config.json does not say it', async (_name, store, kind) => {
  await expect(resolve(store)).rejects.toThrow(
    `m: the weights are quantised as ${kind}, which is not read: give the float model that they were made from`,
  );
});

it('float weights are none of them', async () => {
  expect(await resolve(FLOATS)).toBe(expectedTensors(CONFIG).size);
});
