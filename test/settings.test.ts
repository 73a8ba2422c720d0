import { describe, expect, it } from 'vitest';
import { settingsInForce, withoutFolders } from '../src/settings.js';

const CONFIG = {
  model: '/home/someone/models/base',
  quantization: { load_in_4bit: false, bnb_4bit_quant_type: 'nf4' },
  adapter: {
    method: 'lora',
    r: 8,
    lora_dropout: 0,
    use_dora: true,
    bias: 'none',
    loftq_config: { loftq_bits: 4 },
    init_lora_weights: true,
  },
  data: {
    train: '/home/someone/a.jsonl',
    max_length: 64,
    packing: false,
    chat_template: '/home/someone/chat.jinja',
    template: '/{{ a }}/b',
  },
  training: {
    output_dir: '/tmp/out',
    max_steps: 5,
    num_train_epochs: 3,
    warmup_ratio: 0,
    learning_rate: 1e-3,
    load_best_model_at_end: true,
    seed: 0,
    logging_dir: '/tmp/x',
  },
};

describe('settings in force', () => {
  it('leave out what was off, what other settings replaced, and where the run was made', () => {
    expect(settingsInForce(CONFIG)).toEqual({
      adapter: { method: 'lora', r: 8, use_dora: true, init_lora_weights: true },
      data: { max_length: 64, chat_template: 'chat.jinja', template: '/{{ a }}/b' },
      training: { max_steps: 5, learning_rate: 1e-3, seed: 0 },
    });
    const more = {
      ...CONFIG,
      quantization: { load_in_4bit: true, bnb_4bit_quant_type: 'fp4' },
      data: { validation_split: 0.1 },
      training: { max_steps: -1, num_train_epochs: 3, load_best_model_at_end: true },
    };
    expect(settingsInForce(more)).toMatchObject({
      quantization: { bnb_4bit_quant_type: 'fp4' },
      training: { num_train_epochs: 3, load_best_model_at_end: true },
    });
    expect(settingsInForce({})).toEqual({});
  });

  it('keep names of the Hub, and of paths only the last part', () => {
    expect(
      withoutFolders({
        model: 'org/name',
        local: ['/a/b/c.jsonl', 'C:\\data\\x.csv', './rel/y', '~/z'],
        n: 3,
        text: '/two\nlines',
      }),
    ).toEqual({ model: 'org/name', local: ['c.jsonl', 'x.csv', './rel/y', 'z'], n: 3, text: '/two\nlines' });
  });
});
