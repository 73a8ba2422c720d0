import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { quantizedFiles, type QuantizeCheckpointOptions } from '../../src/export/quantize-checkpoint.js';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { memoryDirectory, type Directory } from '../../src/io/directory.js';
import { float32ToBfloat16 } from '../../src/io/half.js';
import { localDirectory } from '../../src/io/node.js';
import { encodeSafetensors, SafetensorsFile, type TensorBytes } from '../../src/io/safetensors.js';
import { memorySource } from '../../src/io/source.js';
import { loadModel } from '../../src/model/load.js';
import { readQuantized } from '../../src/quant/bitsandbytes.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { describeBackends } from '../support/backends.js';
import { goldenFolder, missingGoldens } from '../support/goldens.js';
import { collect } from '../support/outputs.js';
import { describeReferences, itReferences } from '../support/references.js';
import { modelFiles, TINY_CONFIG, tinyModelFiles } from '../support/tiny-model.js';

const DEFAULTS: QuantizeCheckpointOptions = {
  quantType: 'nf4',
  doubleQuant: true,
  blockSize: 64,
  computeDtype: 'float32',
  skipModules: ['lm_head'],
};

async function quantized(
  base: Directory,
  options: Partial<QuantizeCheckpointOptions> = {},
): Promise<Record<string, Uint8Array | string>> {
  const checkpoint = await openCheckpoint(base);
  try {
    return await collect(await quantizedFiles(base, checkpoint, { ...DEFAULTS, ...options }));
  } finally {
    await checkpoint.close();
  }
}

const tiny = (): Directory => memoryDirectory('tiny', tinyModelFiles());
const sha256 = (content: Uint8Array | string): string => createHash('sha256').update(content).digest('hex');

describeReferences('against transformers and bitsandbytes', missingGoldens('llama', 'llama_qlora/hf4bit'), () => {
  it('writes weights, config.json and generation_config.json byte for byte', async () => {
    const reference = goldenFolder('llama_qlora/hf4bit') as string;
    const files = await quantized(localDirectory(goldenFolder('llama') as string));
    expect(Object.keys(files).sort()).toEqual(['config.json', 'generation_config.json', 'model.safetensors']);
    for (const [name, content] of Object.entries(files))
      expect(sha256(content), name).toBe(sha256(readFileSync(join(reference, name))));
  });
});

describe('quantizedFiles', () => {
  it.each([
    ['nf4', true, 64],
    ['nf4', false, 128],
    ['fp4', true, 32],
    ['fp4', false, 64],
  ] as const)(
    '%s, double quantisation %s, blocks of %i: every weight as quantising it alone gives it',
    async (quantType, doubleQuant, blockSize) => {
      const files = await quantized(tiny(), { quantType, doubleQuant, blockSize, maxShardBytes: 4000 });
      expect(Object.keys(files).filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(3);
      const [base, made] = [await openCheckpoint(tiny()), await openCheckpoint(memoryDirectory('made', files))];
      const kept: string[] = [];
      for (const name of base.names()) {
        const read = await readQuantized(made, name);
        const values = await base.readFloat32(name);
        if (read === undefined) {
          kept.push(name);
          expect(await made.readFloat32(name)).toEqual(values);
        } else {
          expect(read).toEqual(quantize4bit(values, base.info(name).shape, { quantType, doubleQuant, blockSize }));
        }
      }
      expect(kept.filter((name) => !name.includes('norm')).sort()).toEqual([
        'lm_head.weight',
        'model.embed_tokens.weight',
      ]);
      expect(JSON.parse(files['config.json'] as string)).toMatchObject({
        ...TINY_CONFIG,
        quantization_config: {
          quant_method: 'bitsandbytes',
          bnb_4bit_quant_type: quantType,
          bnb_4bit_use_double_quant: doubleQuant,
          llm_int8_skip_modules: null,
        },
      });
      // Python asks for a float.
      expect(files['config.json']).toContain('"llm_int8_threshold": 6.0,');
    },
  );

  it('keeps what it is told to, and remembers the dtype', async () => {
    const float = await openCheckpoint(tiny());
    const tensors: Record<string, TensorBytes> = {};
    for (const name of float.names()) {
      const half = float32ToBfloat16(await float.readFloat32(name));
      tensors[name] = { dtype: 'BF16', shape: float.info(name).shape, bytes: new Uint8Array(half.buffer) };
    }
    const base = memoryDirectory('tiny', { ...tinyModelFiles(), 'model.safetensors': encodeSafetensors(tensors) });
    const files = await quantized(base, { skipModules: ['down_proj', 'layers.0.self_attn'] });
    const made = await openCheckpoint(memoryDirectory('made', files));
    expect((await readQuantized(made, 'model.layers.1.self_attn.q_proj.weight'))?.dtype).toBe('BF16');
    const plain = ['0.mlp.down_proj', '1.mlp.down_proj', '0.self_attn.q_proj', '0.self_attn.o_proj'];
    for (const name of plain) expect(made.info(`model.layers.${name}.weight`).dtype).toBe('BF16');
    const { quantization_config: settings } = JSON.parse(files['config.json'] as string) as {
      quantization_config: object;
    };
    expect(settings).toMatchObject({ llm_int8_skip_modules: ['lm_head', 'down_proj', 'layers.0.self_attn'] });
  });

  it('refuses unknown modules, what is quantised already, and values that are not finite', async () => {
    await expect(quantized(tiny(), { skipModules: ['up', 'lm_head', 'o_proj'] })).rejects.toThrow(
      '--skip-modules: no linear layer is called up; the model has q_proj, k_proj',
    );
    const twice = memoryDirectory('twice', {
      ...tinyModelFiles(),
      'config.json': JSON.stringify({ ...TINY_CONFIG, quantization_config: { load_in_4bit: true } }),
    });
    await expect(quantized(twice)).rejects.toThrow(
      'twice/config.json: quantization_config: the model is quantised already',
    );
    const { 'model.safetensors': weights, ...rest } = modelFiles(TINY_CONFIG);
    const file = await SafetensorsFile.open(memorySource('weights', weights));
    const broken: Record<string, TensorBytes> = {};
    for (const name of file.tensors.keys()) broken[name] = await file.read(name);
    new DataView(
      (broken['model.layers.1.mlp.up_proj.weight']?.bytes as Uint8Array).buffer,
      broken['model.layers.1.mlp.up_proj.weight']?.bytes.byteOffset,
    ).setUint32(20, 0x7fc00000, true);
    await expect(
      quantized(memoryDirectory('broken', { ...rest, 'model.safetensors': encodeSafetensors(broken) })),
    ).rejects.toThrow(
      'broken/model.safetensors: model.layers.1.mlp.up_proj.weight: element 5 is NaN, allowed finite numbers',
    );
  });
});

describeBackends('a quantised checkpoint', ['wasm'], () => {
  for (const name of ['qwen3', 'gpt2']) {
    itReferences(`of ${name} loads as quantising while loading does`, missingGoldens(name), async () => {
      const base = localDirectory(goldenFolder(name) as string);
      const files = memoryDirectory('made', await quantized(base));
      const [made, direct] = [await loadModel(files), await loadModel(base, { quantization: { quantType: 'nf4' } })];
      for (const [module, { weight }] of direct.weights.linears) {
        const other = made.weights.linears.get(module)?.weight;
        if (weight.kind !== '4bit' || other?.kind !== '4bit') throw new Error(`${module} is not in 4 bits`);
        expect(await other.packed.data()).toEqual(await weight.packed.data());
        if (weight.absmax.kind !== 'nested' || other.absmax.kind !== 'nested') throw new Error('scales are not nested');
        expect(await other.absmax.codes.data()).toEqual(await weight.absmax.codes.data());
        expect(other.absmax.offset).toBe(weight.absmax.offset);
      }
      made.dispose();
      direct.dispose();
    });
  }
});
