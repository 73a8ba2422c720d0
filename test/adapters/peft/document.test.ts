import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { changePeftAdapter, peftAdapterFiles, readPeftAdapter } from '../../../src/adapters/peft/document.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { localDirectory } from '../../../src/io/node.js';
import { encodeSafetensors, float32Tensor } from '../../../src/io/safetensors.js';
import { goldenFolder } from '../../support/goldens.js';
import { describeReferences, referencePath } from '../../support/references.js';

const NAMES = ['adapter_config.json', 'adapter_model.safetensors'] as const;

/** Differing files after reading a directory and writing it again. */
async function changed(folder: string): Promise<string[]> {
  const files = peftAdapterFiles(await readPeftAdapter(localDirectory(folder)));
  return NAMES.filter((name) => !Buffer.from(files[name]).equals(readFileSync(join(folder, name))));
}

describe('a PEFT adapter as it is', () => {
  it('keeps unknown settings, numbers as they are spelt and tensors of any name', async () => {
    const text = '{"peft_type": "LORA", "r": 2, "lora_alpha": 4.0, "target_modules": ["q"], "new_in_2031": {"x": 1e0}}';
    const weights = encodeSafetensors({ anything: float32Tensor([1], Float32Array.of(3)) });
    const adapter = await readPeftAdapter(memoryDirectory('a', { [NAMES[0]]: text, [NAMES[1]]: weights }));
    expect(adapter.config).toMatchObject({ r: 2, loraAlpha: 4 });
    expect(adapter.json['new_in_2031']).toEqual({ x: 1 });
    expect(peftAdapterFiles(adapter)).toEqual({ [NAMES[0]]: text, [NAMES[1]]: weights });
    const other = changePeftAdapter(adapter, { r: 8 });
    expect(other.config?.r).toBe(8);
    expect(other.configText).toBe(text.replace('"r": 2', '"r": 8'));
  });

  it('refuses what is no adapter directory', async () => {
    await expect(readPeftAdapter(memoryDirectory('a', {}))).rejects.toThrow('a: no adapter_config.json');
    await expect(readPeftAdapter(memoryDirectory('a', { [NAMES[0]]: '{"peft_type": "LORA"}' }))).rejects.toThrow(
      'a: no adapter_model.safetensors',
    );
    await expect(readPeftAdapter(memoryDirectory('a', { [NAMES[0]]: '[]' }))).rejects.toThrow('must be a JSON object');
    const empty = encodeSafetensors({});
    await expect(
      readPeftAdapter(memoryDirectory('a', { [NAMES[0]]: '{"peft_type": "LORA"}', [NAMES[1]]: empty })),
    ).rejects.toThrow(/r: .*lora_alpha: .*target_modules: /);
  });

  it('is written byte for byte as peft 0.21 wrote it', async () => {
    const folder = goldenFolder('qwen3');
    expect(await changed(join(folder as string, 'golden/lora/adapter'))).toEqual([]);
  });

  describeReferences('of others', ['adapters', 'reference/transformers-peft'], () => {
    it.each(readdirSync(referencePath('adapters')))('%s is written byte for byte as found', async (name) => {
      expect(await changed(referencePath(`adapters/${name}`))).toEqual([]);
    });

    it.each(['lora', 'rslora', 'dora', 'prompt_tuning'])(
      '%s of the references is written byte for byte as found',
      async (name) => {
        expect(await changed(referencePath(`reference/transformers-peft/llama/golden/${name}/adapter`))).toEqual([]);
      },
    );
  });
});
