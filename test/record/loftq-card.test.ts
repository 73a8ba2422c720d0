import { expect, it } from 'vitest';
import { runConfigSchema } from '../../src/config/schema.js';
import { modelCard } from '../../src/record/card.js';
import type { TrainingRecord } from '../../src/record/record.js';

const RECORD = {
  base: { name: 'org/base' },
  versions: { lowrank: '1' },
  device: 'cpu',
  parameters: { trainable: 1, total: 2 },
  data: [],
  results: {},
} as unknown as TrainingRecord;

function cardOf(adapter: Readonly<Record<string, unknown>>): string {
  const config = runConfigSchema.parse({
    model: 'org/base',
    data: { train: 'rows.jsonl' },
    training: { output_dir: 'o' },
    adapter,
  });
  return modelCard(RECORD, config, { name: 'lora', loads: 'peft' });
}

it('the card of a LoftQ adapter says that it belongs on the NF4 base, and loads that in Python', () => {
  const card = cardOf({ init_lora_weights: 'loftq' });
  const [line = ''] = card.split('\n').filter((text) => text.startsWith('LoftQ: '));
  expect(line).toContain('belongs on the base in NF4');
  expect(line).toContain(
    "BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=False)",
  );
  expect(card).toContain(
    'AutoModelForCausalLM.from_pretrained("org/base", quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=False))',
  );
  // Here the base is made of the floats.
  expect(card).not.toContain('quantType');
});

it('the card of one of more iterations sends Python to the merged model', () => {
  const card = cardOf({ init_lora_weights: 'loftq', loftq_config: { loftq_iter: 2 } });
  expect(card).toContain('lowrank export --format merged');
  expect(card).not.toContain('```python');
});

it('the card of any other adapter has no such line', () => {
  const card = cardOf({});
  expect(card).not.toContain('LoftQ');
  expect(card).toContain('AutoModelForCausalLM.from_pretrained("org/base")');
});
