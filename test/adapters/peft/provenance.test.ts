import { describe, expect, it } from 'vitest';
import { parseLoraConfig, serializeLoraConfig } from '../../../src/adapters/lora/config.js';
import { readPeftAdapter } from '../../../src/adapters/peft/document.js';
import { readAdapter, readAdapterConfig } from '../../../src/adapters/peft/files.js';
import { provenanceOf } from '../../../src/adapters/peft/provenance.js';
import { memoryDirectory, type Directory } from '../../../src/io/directory.js';
import { encodeSafetensors, float32Tensor } from '../../../src/io/safetensors.js';

const LOFTQ = parseLoraConfig({
  peft_type: 'LORA',
  r: 2,
  lora_alpha: 4,
  target_modules: ['q_proj'],
  init_lora_weights: 'loftq',
  loftq_config: { loftq_bits: 4, loftq_iter: 3 },
});

function folder(metadata: Record<string, string>, config = serializeLoraConfig(LOFTQ)): Directory {
  const tensors = new Map([['base_model.model.q_proj.lora_A.weight', float32Tensor([2, 3], new Float32Array(6))]]);
  return memoryDirectory('saved', {
    'adapter_config.json': config,
    'adapter_model.safetensors': encodeSafetensors(tensors, { format: 'pt', ...metadata }),
  });
}

describe('a LoftQ adapter', () => {
  it('is saved as one that PEFT loads, and read as what it is', async () => {
    expect(JSON.parse(serializeLoraConfig(LOFTQ))).toMatchObject({ init_lora_weights: true, loftq_config: {} });
    const saved = folder(provenanceOf(LOFTQ));
    for (const config of [
      (await readAdapter(saved)).config,
      await readAdapterConfig(saved),
      (await readPeftAdapter(saved)).config,
    ]) {
      expect(config).toMatchObject({ initLoraWeights: 'loftq', loftqConfig: { loftq_bits: 4, loftq_iter: 3 } });
    }
  });

  it('is told by its weights alone', async () => {
    expect(await readAdapterConfig(folder({}))).toMatchObject({ initLoraWeights: true });
    expect(provenanceOf({ ...LOFTQ, initLoraWeights: 'gaussian' })).toEqual({});
    await expect(readAdapter(folder({ lowrank_init: '{"r": 9}' }))).rejects.toThrow(
      'saved/adapter_model.safetensors: metadata: lowrank_init: found {"r": 9}, allowed an object with init_lora_weights',
    );
    await expect(readAdapter(folder({ lowrank_init: '{' }))).rejects.toThrow('lowrank_init');
  });
});
