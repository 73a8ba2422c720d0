import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FloatDtype, Packed4bit } from '../../kernels/types.js';
import { FormatError } from '../../src/errors.js';
import { openCheckpoint, type Checkpoint } from '../../src/io/weights-file.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { float32ToBfloat16 } from '../../src/io/half.js';
import { localDirectory, fileSource } from '../../src/io/node.js';
import { encodeSafetensors, SafetensorsFile, type TensorBytes } from '../../src/io/safetensors.js';
import { readQuantized, writeQuantized } from '../../src/quant/bitsandbytes.js';
import { CODES, NF4_CODE } from '../../src/quant/nf4.js';
import { dequantize4bit, dequantizeAbsmax, quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { bytesOf, countDiffering, differing, goldenBytes, REFERENCE } from './golden.js';
import { describeReferences } from '../support/references.js';

const WEIGHT = 'model.layers.0.self_attn.q_proj.weight';

async function checkpointOf(tensors: Record<string, TensorBytes>): Promise<Checkpoint> {
  return openCheckpoint(memoryDirectory('memory', { 'model.safetensors': encodeSafetensors(tensors) }));
}

async function readAll(checkpoint: Checkpoint): Promise<Record<string, TensorBytes>> {
  const tensors: Record<string, TensorBytes> = {};
  for (const name of checkpoint.names()) tensors[name] = await checkpoint.read(name);
  return tensors;
}

function sample(dtype: FloatDtype = 'BF16', doubleQuant = true): Packed4bit {
  const random = new Random(3);
  const values = Float32Array.from({ length: 30 * 70 }, () => random.normal());
  return quantize4bit(values, [30, 70], { quantType: 'nf4', doubleQuant, dtype });
}

describe('serialised samples, 0 bits of difference', () => {
  it.each([
    ['v3_nf4', 'nf4_bs64.dequant.bf16'],
    ['v3_nf4_dq', undefined],
    ['v3_fp4_dq', undefined],
  ])('%s is read, dequantised and written back byte for byte', async (file, alsoAs) => {
    const bytes = goldenBytes(`serialized/${file}.safetensors`);
    const checkpoint = await openCheckpoint(memoryDirectory('memory', { 'model.safetensors': bytes }));
    const q = await readQuantized(checkpoint, WEIGHT);
    if (q === undefined) throw new Error('not recognised as quantised');
    expect(q).toMatchObject({ shape: [64, 192], blockSize: 64, dtype: 'BF16' });
    const bits = float32ToBfloat16(dequantize4bit(q));
    expect(differing(bits, `serialized/${file}.expected.bf16`)).toBe(0);
    if (alsoAs !== undefined) expect(differing(bits, `golden/v3_bf16_64x192/${alsoAs}`)).toBe(0);
    expect(encodeSafetensors(writeQuantized(WEIGHT, q), checkpoint.metadata)).toEqual(bytes);
  });
});

describe('round trip', () => {
  it.each([
    ['F32', true],
    ['F16', false],
    ['BF16', true],
  ] as const)('%s, nested scales: %s', async (dtype, doubleQuant) => {
    const q = sample(dtype, doubleQuant);
    expect(await readQuantized(await checkpointOf(writeQuantized('w.weight', q)), 'w.weight')).toEqual(q);
  });

  it('reads codes stored under another dtype', async () => {
    const q = sample();
    const tensors = writeQuantized('w.weight', q);
    const stored = {
      ...tensors,
      'w.weight': { dtype: 'BF16', shape: [q.packed.length / 2, 1], bytes: q.packed },
    } as const;
    expect(await readQuantized(await checkpointOf(stored), 'w.weight')).toEqual(q);
  });

  it('writes offsets as Python does', () => {
    for (const [offset, text] of [
      [2 ** -20, '9.5367431640625e-07'],
      [1, '1.0'],
      [0.138497993350029, '0.138497993350029'],
      [1e-4, '0.0001'],
    ] as const) {
      const q = sample();
      const state = writeQuantized('w', { ...q, absmax: { ...q.absmax, offset } as Packed4bit['absmax'] })[
        'w.quant_state.bitsandbytes__nf4'
      ];
      expect(new TextDecoder().decode(state?.bytes)).toContain(`"nested_offset": ${text}}`);
    }
  });

  it('leaves float weights alone and refuses 8-bit ones', async () => {
    const float = { dtype: 'F32', shape: [1], bytes: new Uint8Array(4) } as const;
    expect(await readQuantized(await checkpointOf({ 'w.weight': float }), 'w.weight')).toBeUndefined();
    await expect(readQuantized(await checkpointOf({ 'w.weight': float, 'w.SCB': float }), 'w.weight')).rejects.toThrow(
      /LLM\.int8/,
    );
  });
});

describe('broken parts are all named at once', () => {
  it('missing and short tensors', async () => {
    const tensors = writeQuantized('w.weight', sample());
    delete tensors['w.weight.nested_absmax'];
    const broken = {
      ...tensors,
      'w.weight': { dtype: 'U8', shape: [7], bytes: new Uint8Array(7) },
      'w.weight.quant_map': { dtype: 'F32', shape: [15], bytes: new Uint8Array(60) },
    } as const;
    const reading = readQuantized(await checkpointOf(broken), 'w.weight');
    await expect(reading).rejects.toThrow(FormatError);
    await expect(reading).rejects.toThrow(
      /w\.weight: found 7 bytes, allowed 1050[^]*quant_map: found 60 bytes, allowed 64[^]*nested_absmax: missing/,
    );
  });

  it.each([
    ['{"quant_type": "fp4"}', /quant_type: found "fp4", allowed nf4[^]*dtype: found nothing[^]*blocksize[^]*shape/],
    ['{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [9007199254740991, 3]}', /shape: found/],
    ['{"quant_type": "nf4", "blocksize": 0, "dtype": "float32", "shape": [4]}', /blocksize: found 0/],
    ['{"quant_type": "nf4"', /:1:\d+: not JSON/],
    ['[]', /no JSON object/],
  ])('state %s', async (state, message) => {
    const tensors = writeQuantized('w.weight', sample());
    const bytes = new TextEncoder().encode(state);
    tensors['w.weight.quant_state.bitsandbytes__nf4'] = { dtype: 'U8', shape: [bytes.length], bytes };
    await expect(readQuantized(await checkpointOf(tensors), 'w.weight')).rejects.toThrow(message);
  });
});

const slices = `${REFERENCE}/bitsandbytes-published-slices`;
describeReferences(
  "slices of published checkpoints: the CUDA kernel's own bf16 output",
  'reference/bitsandbytes-published-slices',
  () => {
    // FP4: the kernel gives −0 where the table has +0; as numbers the values are equal, so 0 numeric differences.
    it.each([
      ['llama_1b_nf4', 'nf4', 0],
      ['llama_1b_nf4_double_quant', 'nf4', 0],
      ['qwen2_5_1_5b_nf4_dq', 'nf4', 0],
      ['phi3_5_mini_nf4_dq', 'nf4', 0],
      ['llama_1b_fp4', 'fp4', 8],
      ['qwen3_mcqa_fp4', 'fp4', 4],
    ] as const)('%s', (file, quantType, signedZeros) => {
      const bytes = new Uint8Array(readFileSync(`${slices}/${file}.bin`));
      const head = new DataView(bytes.buffer);
      const word = (i: number) => head.getUint32(4 * i, true);
      let at = 40;
      const take = (length: number) => bytes.slice(at, (at += length));
      const packed = take(word(3));
      const scales = take(word(4));
      const code = new Float32Array(take(word(5)).buffer);
      const nestedAbsmax = new Float32Array(take(word(6)).buffer);
      const map = new Float32Array(take(word(7)).buffer);
      const expected = take(word(8));
      const absmax: Packed4bit['absmax'] =
        word(0) === 2
          ? {
              kind: 'nested',
              codes: scales,
              map,
              nestedAbsmax,
              nestedBlockSize: 256,
              offset: head.getFloat32(36, true),
            }
          : { kind: 'plain', values: new Float32Array(scales.buffer) };
      const q: Packed4bit = { quantType, shape: [word(1)], blockSize: word(2), dtype: 'BF16', packed, code, absmax };
      expect(code).toEqual(CODES[quantType]);
      const bits = bytesOf(float32ToBfloat16(dequantize4bit(q)));
      expect(countDiffering(bits, expected, 2)).toBe(signedZeros);
      const asNumbers = (half: Uint8Array) =>
        [...new Uint16Array(half.slice().buffer)].map((value) => (value === 0x8000 ? 0 : value));
      expect(asNumbers(bits)).toEqual(asNumbers(expected));
    });

    it('reads a checkpoint of another writer, with zeros for "not nested"', async () => {
      const bytes = new Uint8Array(readFileSync(`${slices}/synthetic_layout_only_bnb_nf4.safetensors`));
      const checkpoint = await openCheckpoint(memoryDirectory('memory', { 'model.safetensors': bytes }));
      const q = await readQuantized(checkpoint, 'model.layers.0.weight');
      expect(q).toMatchObject({ shape: [8, 8], blockSize: 64, absmax: { kind: 'plain' } });
      expect(await readQuantized(checkpoint, 'model.norm.weight')).toBeUndefined();
    });
  },
);

const qlora = `${REFERENCE}/transformers-peft/llama_qlora`;
describeReferences(
  'the 4-bit checkpoint that transformers wrote, 0 bits of difference',
  'reference/transformers-peft/llama_qlora',
  () => {
    let checkpoint: Checkpoint;
    let base: Checkpoint;
    let quant: SafetensorsFile;
    let dequantised: SafetensorsFile;
    let vectors: SafetensorsFile;
    beforeAll(async () => {
      checkpoint = await openCheckpoint(localDirectory(`${qlora}/hf4bit`));
      base = await openCheckpoint(localDirectory(`${REFERENCE}/transformers-peft/llama`));
      quant = await SafetensorsFile.open(await fileSource(`${qlora}/golden/quant.safetensors`));
      dequantised = await SafetensorsFile.open(await fileSource(`${qlora}/golden/dequantised.safetensors`));
      vectors = await SafetensorsFile.open(await fileSource(`${qlora}/golden/nf4_vectors.safetensors`));
    });
    afterAll(async () => {
      for (const file of [checkpoint, base, quant, dequantised, vectors]) await file.close();
    });
    const same = async (actual: Float32Array | Uint8Array, file: SafetensorsFile, name: string) =>
      expect(countDiffering(bytesOf(actual), (await file.read(name)).bytes, actual.BYTES_PER_ELEMENT), name).toBe(0);

    it('reads, dequantises and requantises every linear', async () => {
      const names = [...dequantised.tensors.keys()];
      expect(names).toHaveLength(14);
      await same(NF4_CODE, quant, 'nf4_code');
      for (const name of names) {
        const read = await readQuantized(checkpoint, name);
        const made = quantize4bit(await base.readFloat32(name), base.info(name).shape, {
          quantType: 'nf4',
          doubleQuant: true,
        });
        expect(made).toEqual(read);
        if (made.absmax.kind !== 'nested') throw new Error('scales are not nested');
        const module = name.replace(/\.weight$/, '');
        await same(made.packed, quant, `${module}.packed`);
        await same(made.absmax.codes, quant, `${module}.absmax_codes`);
        await same(made.absmax.nestedAbsmax, quant, `${module}.nested_absmax`);
        await same(Float32Array.of(made.absmax.offset), quant, `${module}.offset`);
        await same(dequantizeAbsmax(made.absmax), quant, `${module}.absmax_dequantised`);
        await same(dequantize4bit(made), dequantised, name);
      }
    });

    it('writes the whole checkpoint byte for byte', async () => {
      const tensors: Record<string, TensorBytes> = {};
      for (const name of base.names()) {
        if (!dequantised.tensors.has(name)) {
          tensors[name] = await base.read(name);
        } else {
          const { shape } = base.info(name);
          Object.assign(
            tensors,
            writeQuantized(
              name,
              quantize4bit(await base.readFloat32(name), shape, { quantType: 'nf4', doubleQuant: true }),
            ),
          );
        }
      }
      const expected = new Uint8Array(readFileSync(`${qlora}/hf4bit/model.safetensors`));
      expect(countDiffering(encodeSafetensors(tensors, { format: 'pt' }), expected, 1)).toBe(0);
      expect(Object.keys(await readAll(checkpoint))).toHaveLength(Object.keys(tensors).length);
    });

    it.each(['codebook', 'heavy_19264', 'midpoints', 'normal_1000', 'zero_block'])('vector %s', async (name) => {
      const values = await vectors.readFloat32(`${name}.input`);
      const plain = quantize4bit(values, [values.length], { quantType: 'nf4', doubleQuant: false });
      await same(plain.packed, vectors, `${name}.single.packed`);
      await same(dequantizeAbsmax(plain.absmax), vectors, `${name}.single.absmax`);
      await same(dequantize4bit(plain), vectors, `${name}.single.dequantised`);
      const double = quantize4bit(values, [values.length], { quantType: 'nf4', doubleQuant: true });
      if (double.absmax.kind !== 'nested') throw new Error('scales are not nested');
      await same(double.packed, vectors, `${name}.double.packed`);
      await same(double.absmax.codes, vectors, `${name}.double.absmax_codes`);
      await same(double.absmax.nestedAbsmax, vectors, `${name}.double.nested_absmax`);
      await same(Float32Array.of(double.absmax.offset), vectors, `${name}.double.offset`);
      await same(dequantize4bit(double), vectors, `${name}.double.dequantised`);
    });
  },
);
