import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { loraMismatches } from '../../../src/adapters/lora/tensor-shapes.js';
import { adapterFiles, putAdapter, readAdapter, type AdapterFiles } from '../../../src/adapters/peft/files.js';
import { METHODS } from '../../../src/adapters/registry.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { encodeSafetensors, float32Tensor, SafetensorsFile, type TensorBytes } from '../../../src/io/safetensors.js';
import { memorySource } from '../../../src/io/source.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel } from '../../../src/model/load.js';
import { describeBackends } from '../../support/backends.js';
import { modelFiles, TINY_CONFIG, tinyModelFiles } from '../../support/tiny-model.js';

const MODEL = memoryDirectory('tiny', tinyModelFiles());
const HEAD = 'base_model.model.lm_head.weight';
const TABLE = 'base_model.model.model.embed_tokens.weight';
const OPTIONS = {
  r: 2,
  lora_alpha: 4,
  lora_dropout: 0,
  target_modules: ['q_proj'],
  use_rslora: false,
  init_lora_weights: 'gaussian',
} as const;

/** A tensor of the base. */
async function ofBase(name: string): Promise<TensorBytes> {
  return (await SafetensorsFile.open(memorySource('model', tinyModelFiles()['model.safetensors']))).read(name);
}

/** Every value a quarter more. */
function changed(tensor: TensorBytes): TensorBytes {
  const { buffer, byteOffset, byteLength } = tensor.bytes.slice();
  return float32Tensor(
    tensor.shape,
    new Float32Array(buffer, byteOffset, byteLength / 4).map((value) => 1.25 * value),
  );
}

/** The upper halves of float32 values, cut off: within a step of bfloat16. */
function asBfloat16(tensor: TensorBytes): TensorBytes {
  return { dtype: 'BF16', shape: tensor.shape, bytes: tensor.bytes.filter((_, i) => i % 4 >= 2) };
}

/** A saved adapter with further tensors, as its files give it back. */
async function savedWith(
  decoder: Decoder,
  more: Readonly<Record<string, TensorBytes>>,
  targets: readonly string[] = ['q_proj'],
): Promise<AdapterFiles> {
  const fresh = METHODS.lora.create(decoder, { ...OPTIONS, target_modules: targets }, 1);
  const files = await adapterFiles(fresh);
  fresh.dispose();
  const read = await readAdapter(memoryDirectory('fresh', files));
  const tensors = new Map([...read.tensors, ...Object.entries(more)]);
  return readAdapter(
    memoryDirectory('saved', { ...files, 'adapter_model.safetensors': encodeSafetensors(tensors, { format: 'pt' }) }),
  );
}

async function logits(decoder: Decoder): Promise<Float32Array> {
  const out = tf.tidy(() =>
    decoder.logits(decoder.hidden({ ids: tf.tensor1d([3, 1, 4, 1, 5], 'int32'), batch: 1, length: 5 })),
  );
  const values = Float32Array.from(await out.data());
  out.dispose();
  return values;
}

describeBackends('weights of the base beside an adapter', ['wasm'], () => {
  async function withDecoder(body: (decoder: Decoder) => Promise<void>): Promise<void> {
    const decoder = await loadModel(MODEL);
    try {
      await body(decoder);
    } finally {
      decoder.dispose();
    }
  }

  it('are left out where they are the base’s own, also when they were rounded', async () => {
    await withDecoder(async (decoder) => {
      const plain = await logits(decoder);
      for (const form of [(tensor: TensorBytes) => tensor, asBfloat16]) {
        const notes: string[] = [];
        const adapter = await putAdapter(
          decoder,
          await savedWith(decoder, {
            [HEAD]: form(await ofBase('lm_head.weight')),
            [TABLE]: form(await ofBase('model.embed_tokens.weight')),
          }),
          'saved',
          { onNote: (note) => notes.push(note) },
        );
        expect(notes).toEqual(
          [TABLE, HEAD].map((key) => `saved: ${key} is the base's own weight, as PEFT saves it too`),
        );
        expect(adapter.parameters.map(({ key }) => key)).toHaveLength(4);
        // B is zero.
        expect(await logits(decoder)).toEqual(plain);
        adapter.dispose();
      }
    });
  });

  it('take the place of the base’s where they differ, and say so', async () => {
    await withDecoder(async (decoder) => {
      const plain = await logits(decoder);
      const notes: string[] = [];
      const adapter = await putAdapter(
        decoder,
        await savedWith(decoder, { [HEAD]: changed(await ofBase('lm_head.weight')) }),
        'saved',
        { onNote: (note) => notes.push(note) },
      );
      expect(notes).toEqual([
        `saved: ${HEAD} is another weight than that of the base and takes its place, as if modules_to_save named lm_head`,
      ]);
      const replaced = await logits(decoder);
      replaced.forEach((value, i) => {
        expect(Math.abs(value - 1.25 * (plain[i] as number))).toBeLessThan(1e-4);
      });
      // Saved again, it is a module of modules_to_save.
      const again = await readAdapter(memoryDirectory('again', await adapterFiles(adapter)));
      expect(again.config).toMatchObject({ modulesToSave: ['lm_head'] });
      adapter.dispose();
      expect(await logits(decoder)).toEqual(plain);
    });
  });

  it('are refused where an adapter lies on another weight, or has other rows', async () => {
    await withDecoder(async (decoder) => {
      const key = 'base_model.model.model.embed_tokens.base_layer.weight';
      const other = await savedWith(decoder, { [key]: changed(await ofBase('model.embed_tokens.weight')) }, [
        'embed_tokens',
      ]);
      await expect(putAdapter(decoder, other, 'saved')).rejects.toThrow(
        `saved: ${key} is another weight than that of the base, and the adapter changes model.embed_tokens besides`,
      );
      const longer = await savedWith(decoder, { [HEAD]: float32Tensor([40, 32], new Float32Array(40 * 32)) });
      await expect(putAdapter(decoder, longer, 'saved')).rejects.toThrow(
        `${HEAD} is [40, 32], expected [32, 32]: the embedding of its base has other rows`,
      );
    });
  });

  it('are held against the embedding where the output layer is that', async () => {
    const tied = await loadModel(memoryDirectory('tied', modelFiles({ ...TINY_CONFIG, tie_word_embeddings: true })));
    const table = float32Tensor([32, 32], Float32Array.from(await tied.weights.embedding.data()));
    const notes: string[] = [];
    const files = await savedWith(tied, { [HEAD]: table });
    expect(loraMismatches(tied.config, files.config as Parameters<typeof loraMismatches>[1], files.tensors)).toEqual(
      [],
    );
    (await putAdapter(tied, files, 'saved', { onNote: (note) => notes.push(note) })).dispose();
    expect(notes).toEqual([`saved: ${HEAD} is the base's own weight, as PEFT saves it too`]);
    tied.dispose();
  });
});
