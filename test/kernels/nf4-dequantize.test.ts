import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import {
  dequantize,
  disposeWeight,
  uploadQuantized,
  weightBytes,
  withKernelMode,
  type Packed4bit,
} from '../../kernels/index.js';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { fileSource, localDirectory } from '../../src/io/node.js';
import { SafetensorsFile } from '../../src/io/safetensors.js';
import { readQuantized } from '../../src/quant/bitsandbytes.js';
import { DYNAMIC_MAP } from '../../src/quant/dynamic-map.js';
import { CODES } from '../../src/quant/nf4.js';
import { dequantize4bit, quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectNoLeak, normals } from '../support/numeric.js';
import { describeReferences, referencePath } from '../support/references.js';

const GOLDEN = referencePath('reference/bitsandbytes/golden');
const CHECKPOINT = referencePath('reference/transformers-peft/llama_qlora');
const SHAPES = [
  [1, 1],
  [3, 7],
  [7, 65],
  [5, 100],
  [33, 129],
  [1, 4097],
  [130, 192],
] as const;

async function decoded(host: Packed4bit, mode: 'auto' | 'reference' = 'auto'): Promise<Float32Array> {
  let values: Float32Array = new Float32Array();
  await expectNoLeak(async () => {
    const weight = uploadQuantized(host);
    const w = withKernelMode(mode, () => dequantize(weight));
    values = await w.data<'float32'>();
    disposeWeight(weight);
    w.dispose();
  });
  return values;
}

/** Bit for bit, but for the sign of a zero. */
function expectExact(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  const at = expected.findIndex((value, i) => value !== actual[i]);
  expect(at === -1 ? 'equal' : `element ${at} is ${actual[at]}, expected ${expected[at]}`).toBe('equal');
}

describeBackends('dequantize', ['cpu', 'wasm', 'webgpu'], () => {
  const variants = (['nf4', 'fp4'] as const).flatMap((quantType) =>
    ([false, true] as const).map((doubleQuant) => ({ quantType, doubleQuant })),
  );
  it.each(SHAPES.flatMap(([rows, cols]) => variants.map((v) => ({ rows, cols, ...v }))))(
    'equals the host and the reference: [$rows, $cols] $quantType, nested $doubleQuant',
    async ({ rows, cols, quantType, doubleQuant }) => {
      const values = normals(new Random(rows * 31 + cols), rows * cols, 0.02);
      for (const dtype of ['F32', 'F16', 'BF16'] as const) {
        for (const blockSize of [64, 128]) {
          const host = quantize4bit(values, [rows, cols], { quantType, doubleQuant, dtype, blockSize });
          const expected = dequantize4bit(host);
          expectExact(await decoded(host), expected);
          expectExact(await decoded(host, 'reference'), expected);
        }
      }
    },
  );

  it('rounds ties to even, and float16 values too small or too large for its exponent', async () => {
    const scales = Float32Array.of(
      1,
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      5 * 2 ** -25,
      7 * 2 ** -25,
      2 ** -26,
      65519,
      3 ** 9,
      0,
    );
    const code = Float32Array.from({ length: 16 }, (_, i) => (i < 8 ? -1 : 1) / (1 + (i % 8)));
    const packed = Uint8Array.from({ length: 8 * scales.length }, (_, i) => (i * 37 + 5) & 255);
    for (const dtype of ['F16', 'BF16'] as const) {
      const host: Packed4bit = {
        quantType: 'nf4',
        shape: [scales.length, 16],
        blockSize: 16,
        dtype,
        packed,
        code,
        absmax: { kind: 'plain', values: scales },
      };
      expectExact(await decoded(host), dequantize4bit(host));
      expectExact(await decoded(host, 'reference'), dequantize4bit(host));
    }
  });

  it('takes 4.127 bits a weight with nested scales', () => {
    const host = quantize4bit(normals(new Random(1), 2 ** 18), [512, 512], { quantType: 'nf4', doubleQuant: true });
    const weight = uploadQuantized(host);
    const tables = 4 * (16 + 256);
    expect(((weightBytes(weight) - tables) * 8) / 2 ** 18).toBeCloseTo(4 + 8 / 64 + 32 / 16384, 6);
    disposeWeight(weight);
  });

  it('refuses arrays that do not fit the shape', () => {
    const host = quantize4bit(normals(new Random(1), 128), [2, 64], { quantType: 'nf4', doubleQuant: false });
    expect(() => uploadQuantized({ ...host, shape: [3, 64] })).toThrow(
      /needs 96 bytes and 3 block scales, found 64 and 2/,
    );
  });

  describeReferences('against bitsandbytes', 'reference/bitsandbytes/golden', () => {
    it.each(goldenVectors())('$name $tag nested $nested', async ({ host, expected }) => {
      expectExact(await decoded(host), expected);
    });
  });

  describeReferences('against a checkpoint that bitsandbytes wrote', 'reference/transformers-peft/llama_qlora', () => {
    it('decodes every weight bit for bit', async () => {
      const checkpoint = await openCheckpoint(localDirectory(resolve(CHECKPOINT, 'hf4bit')));
      const golden = await SafetensorsFile.open(
        await fileSource(resolve(CHECKPOINT, 'golden/dequantised.safetensors')),
      );
      expect(golden.tensors.size).toBeGreaterThan(0);
      for (const name of golden.tensors.keys()) {
        const host = await readQuantized(checkpoint, name);
        expect(host, name).toBeDefined();
        expectExact(await decoded(host as Packed4bit), await golden.readFloat32(name));
      }
      await Promise.all([checkpoint.close(), golden.close()]);
    });
  });
});

interface Golden {
  readonly name: string;
  readonly tag: string;
  readonly nested: boolean;
  readonly host: Packed4bit;
  readonly expected: Float32Array;
}

function goldenVectors(): Golden[] {
  const bytes = (path: string): Uint8Array => Uint8Array.from(readFileSync(resolve(GOLDEN, path)));
  const floats = (path: string): Float32Array => new Float32Array(bytes(path).buffer as ArrayBuffer);
  interface Vector {
    name: string;
    shape: number[];
    n: number;
    variants: { tag: string; quant_type: 'nf4' | 'fp4'; blocksize: number; offset: number }[];
  }
  const { vectors } = JSON.parse(readFileSync(resolve(GOLDEN, 'index.json'), 'utf8')) as { vectors: Vector[] };
  return vectors.flatMap(({ name, shape, n, variants }) =>
    variants.flatMap(({ tag, quant_type, blocksize, offset }) => {
      const at = (suffix: string): string => `${name}/${tag}.${suffix}`;
      const common = {
        quantType: quant_type,
        shape: shape.length === 2 ? shape : [1, n],
        blockSize: blocksize,
        dtype: 'F32' as const,
        packed: bytes(at('packed.u8')),
        code: CODES[quant_type],
      };
      const plain: Packed4bit = { ...common, absmax: { kind: 'plain', values: floats(at('absmax.f32')) } };
      const nested: Packed4bit = {
        ...common,
        absmax: {
          kind: 'nested',
          codes: bytes(at('dq.absmax_q.u8')),
          map: DYNAMIC_MAP,
          nestedAbsmax: floats(at('dq.nested_absmax.f32')),
          nestedBlockSize: 256,
          offset,
        },
      };
      return [
        { name, tag, nested: false, host: plain, expected: floats(at('dequant.f32')) },
        { name, tag, nested: true, host: nested, expected: floats(at('dq.dequant.f32')) },
      ];
    }),
  );
}
