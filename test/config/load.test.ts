import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadConfig, serializeConfig } from '../../src/config/load.js';
import { ConfigError } from '../../src/errors.js';

const minimal = 'model: org/tiny\ndata:\n  train: rows.jsonl\ntraining:\n  output_dir: out\n';

function messageOf(text: string, overrides: string[] = []): string {
  try {
    loadConfig(text, 'run.yaml', overrides);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error('the config was accepted');
}

describe('loadConfig', () => {
  it('fills in the defaults', () => {
    expect(loadConfig(minimal, 'run.yaml')).toEqual({
      model: 'org/tiny',
      device: 'auto',
      quantization: {
        load_in_4bit: false,
        bnb_4bit_quant_type: 'nf4',
        bnb_4bit_use_double_quant: true,
        bnb_4bit_blocksize: 64,
      },
      adapter: {
        method: 'lora',
        r: 8,
        lora_alpha: 16,
        lora_dropout: 0,
        target_modules: 'all-linear',
        use_rslora: false,
        use_dora: false,
        init_lora_weights: true,
        loraplus_lr_ratio: 1,
        bias: 'none',
        num_virtual_tokens: 8,
        prompt_tuning_init: 'RANDOM',
        placement: 'houlsby',
        non_linearity: 'relu',
        num_trainable_layers: 1,
        train_norms: false,
        train_head: false,
        save_dtype: 'auto',
      },
      data: {
        train: 'rows.jsonl',
        format: 'auto',
        max_length: 512,
        packing: false,
        streaming: false,
        train_on: 'completion',
        shuffle: true,
      },
      training: {
        output_dir: 'out',
        overwrite_output_dir: false,
        num_train_epochs: 3,
        max_steps: -1,
        per_device_train_batch_size: 4,
        per_device_eval_batch_size: 8,
        gradient_accumulation_steps: 1,
        gradient_checkpointing: false,
        momentum: 0,
        objective: 'token_mean',
        optim: 'adamw',
        learning_rate: 2e-4,
        lr_scheduler_type: 'cosine',
        warmup_steps: 0,
        warmup_ratio: 0,
        weight_decay: 0,
        adam_beta1: 0.9,
        adam_beta2: 0.999,
        adam_epsilon: 1e-8,
        max_grad_norm: 1,
        seed: 42,
        logging_steps: 10,
        report_to: 'none',
        save_strategy: 'epoch',
        resume_from_checkpoint: false,
        early_stopping_threshold: 0,
        load_best_model_at_end: true,
      },
    });
  });

  it('reads JSON, tabs included, as it reads YAML', () => {
    const json =
      '{\n\t"model": "org/tiny",\n\t"data": {"train": "rows.jsonl"},\n\t"training": {"output_dir": "out"}\n}\n';
    expect(loadConfig(json, 'run.json')).toEqual(loadConfig(minimal, 'run.yaml'));
  });

  it('takes a key that holds null as absent', () => {
    const config = loadConfig(`${minimal}  eval_steps:\n  seed: null\n`, 'run.yaml');
    expect(config.training.eval_steps).toBeUndefined();
    expect(config.training.seed).toBe(42);
  });

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(
        fc.record({
          rate: fc.double({ min: 1e-12, max: 10, noNaN: true }),
          seed: fc.nat(),
          targets: fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 3 }),
          template: fc.string({ minLength: 1 }),
        }),
        ({ rate, seed, targets, template }) => {
          const config = loadConfig(minimal, 'run.yaml', [
            `training.learning_rate=${rate}`,
            `training.seed=${seed}`,
            `adapter.target_modules=${JSON.stringify(targets)}`,
            `data.template=${JSON.stringify(template)}`,
          ]);
          expect(config.training.learning_rate).toBe(rate);
          expect(config.adapter.target_modules).toEqual(targets);
          expect(loadConfig(serializeConfig(config), 'written.yaml')).toEqual(config);
        },
      ),
    );
  });
});

describe('overrides', () => {
  it('have the types of YAML and win over the file', () => {
    const config = loadConfig(`${minimal}  seed: 1\n`, 'run.yaml', [
      'training.seed=7',
      'quantization.load_in_4bit=true',
      'adapter.target_modules=[q_proj, v_proj]',
      'training.learning_rate=1e-4',
      'training.seed=8',
    ]);
    expect(config.training.seed).toBe(8);
    expect(config.quantization.load_in_4bit).toBe(true);
    expect(config.adapter.target_modules).toEqual(['q_proj', 'v_proj']);
    expect(config.training.learning_rate).toBe(1e-4);
  });

  it('put an option back to its default with null', () => {
    const config = loadConfig(`${minimal}  seed: 1\n`, 'run.yaml', ['training.seed=null']);
    expect(config.training.seed).toBe(42);
  });

  it('are named as the place of a problem', () => {
    expect(messageOf(minimal, ['training.sede=1'])).toBe(
      '--set training.sede=1: training.sede unknown key: did you mean seed?',
    );
    expect(messageOf(minimal, ['seed'])).toContain('expected option=value');
    expect(messageOf(minimal, ['data.train=[a'])).toContain('not valid YAML');
  });

  it('cannot reach the prototype of an object', () => {
    expect(messageOf(minimal, ['__proto__.polluted=1'])).toContain('__proto__');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('paths', () => {
  it('are relative to the folder of the file they are written in', () => {
    const text = 'model: ../models/tiny\ndata: {train: [a.jsonl, /b.jsonl]}\ntraining: {output_dir: ../out/a}\n';
    const config = loadConfig(text, 'configs/quickstart/run.yaml');
    expect(config.model).toBe('./configs/models/tiny');
    expect(config.data.train).toEqual(['configs/quickstart/a.jsonl', '/b.jsonl']);
    expect(config.training.output_dir).toBe('configs/out/a');
  });

  it('leave a Hub id alone', () => {
    expect(loadConfig(minimal, '/configs/run.yaml').model).toBe('org/tiny');
  });

  it('of data sets are paths unless they read like ids of the Hub', () => {
    const data = (train: string): unknown =>
      loadConfig(
        `model: a/b\ndata: {train: ${train}, chat_template: ./chat.jinja}\ntraining: {output_dir: o}\n`,
        '/c/run.yaml',
      ).data;
    expect(data('[org/name, org/name@v1, hub:name, ./org/name, org/rows.jsonl, one/two/three]')).toMatchObject({
      train: ['org/name', 'org/name@v1', 'hub:name', '/c/org/name', '/c/org/rows.jsonl', '/c/one/two/three'],
      chat_template: '/c/chat.jinja',
    });
    expect(data("{path: rows.csv, weight: 2, chat_template: '{{ messages }}'}")).toMatchObject({
      train: { path: '/c/rows.csv', weight: 2, chat_template: '{{ messages }}' },
    });
    expect(data('[{path: org/name, split: test}, {path: x.csv, chat_template: ../t.jinja}]')).toMatchObject({
      train: [
        { path: 'org/name', split: 'test' },
        { path: '/c/x.csv', chat_template: '/t.jinja' },
      ],
    });
    const override = loadConfig(minimal, '/c/run.yaml', ['data.train=[{path: a.csv}]'], { overrides: '/here' });
    expect(override.data.train).toEqual([{ path: '/here/a.csv' }]);
  });

  it('of the command line are relative to the current folder', () => {
    const overrides = ['training.output_dir=out/b', 'model=./tiny'];
    const config = loadConfig(minimal, 'configs/run.yaml', overrides);
    expect(config.training.output_dir).toBe('out/b');
    expect(config.model).toBe('./tiny');
    const absolute = loadConfig(minimal, 'run.yaml', overrides, { file: '/home/configs', overrides: '/home' });
    expect(absolute.training.output_dir).toBe('/home/out/b');
    expect(absolute.model).toBe('/home/tiny');
    expect(absolute.data.train).toBe('/home/configs/rows.jsonl');
  });
});

describe('problems', () => {
  it.each([
    [`${minimal}  learning_rte: 1\n`, 'run.yaml:6:3: training.learning_rte unknown key: did you mean learning_rate?'],
    [
      `${minimal}learning_rate: 1\n`,
      'run.yaml:6:1: learning_rate unknown key here: it belongs at training.learning_rate',
    ],
    [`${minimal}lerning_rate: 1\n`, 'run.yaml:6:1: lerning_rate unknown key: did you mean training.learning_rate?'],
    [`${minimal}  learning_rate: 0\n`, 'run.yaml:6:3: training.learning_rate must be a number > 0, not 0'],
    [`${minimal}  learning_rate: .nan\n`, 'training.learning_rate must be a number > 0'],
    [`${minimal}  seed: 1.5\n`, 'training.seed must be an integer ≥ 0, not 1.5'],
    [`${minimal}  max_steps: 0\n`, 'training.max_steps must be -1 or an integer ≥ 1, not 0'],
    [
      `${minimal}  lr_scheduler_type: cosin\n`,
      'training.lr_scheduler_type must be cosine, linear, constant or constant_with_warmup, not "cosin"',
    ],
    [`${minimal}adapter: {target_modules: 3}\n`, 'adapter.target_modules must be a string or a list of strings, not 3'],
    [`${minimal}adapter: {target_modules: [q, 3]}\n`, 'adapter.target_modules must be a string or a list of strings'],
    [
      `${minimal}adapter: {init_lora_weights: olora}\n`,
      'must be true, gaussian, loftq, pissa or pissa_niter_N, not "olora"',
    ],
    [
      `${minimal}adapter: {loftq_config: {loftq_iter: 2}}\n`,
      'adapter.loftq_config needs adapter.init_lora_weights loftq',
    ],
    [`${minimal}adapter: {layers_pattern: layers}\n`, 'adapter.layers_pattern needs adapter.layers_to_transform'],
    [
      `${minimal}adapter: {target_modules: .*q_proj, layers_to_transform: [0]}\n`,
      'adapter.layers_to_transform contradicts an expression in adapter.target_modules',
    ],
    [`${minimal}adapter: lora\n`, 'run.yaml:6:1: adapter must be a section with the keys method, r,'],
    [
      minimal.replace('rows.jsonl', '[{path: a.csv, wieght: 1}]'),
      'data.train[0].wieght unknown key: did you mean weight?',
    ],
    [
      minimal.replace('rows.jsonl', '[{path: a.csv}, {path: a.csv, weight: 0}]'),
      'data.train[1].weight must be a number > 0, not 0',
    ],
    [minimal.replace('rows.jsonl', '{weight: 1}'), 'data.train.path is required: a string'],
    [minimal.replace('rows.jsonl', '[]'), 'data.train must be a string, an entry or a list of these, not []'],
    [minimal.replace('rows.jsonl', '7'), 'data.train must be a string, an entry or a list of these, not 7'],
    [
      'model: a/b\ntraining: {output_dir: o}\n',
      'run.yaml: data.train is required: a string, an entry or a list of these',
    ],
    ['model: a/b\ndata: {}\ntraining: {output_dir: o}\n', 'run.yaml:2:1: data.train is required'],
    ['- a\n', 'run.yaml: the config must be a section'],
    ['model: [a\n', 'run.yaml:2:1:'],
    ['model: a\nmodel: b\n', 'run.yaml:2:1: Map keys must be unique'],
    ['model: *nowhere\n', 'run.yaml: Unresolved alias'],
  ])('%j', (text, message) => {
    expect(messageOf(text)).toContain(message);
  });

  it('are told all at once, contradictions included', () => {
    const text = [
      'modle: org/tiny',
      'data: {train: a.jsonl, validation: b.jsonl, validation_split: 0.1}',
      'training:',
      '  seed: x',
      '  warmup_steps: 5',
      '  warmup_ratio: 0.1',
    ].join('\n');
    expect(messageOf(text).split('\n')).toEqual([
      '6 problems in the config run.yaml',
      '  run.yaml: model is required: a string',
      '  run.yaml:3:1: training.output_dir is required: a string',
      '  run.yaml:4:3: training.seed must be an integer ≥ 0, not "x"',
      '  run.yaml:1:1: modle unknown key: did you mean model?',
      '  run.yaml:6:3: training.warmup_ratio contradicts training.warmup_steps: give one of the two',
      '  run.yaml:2:45: data.validation_split contradicts data.validation: give one of the two',
    ]);
  });

  it('include options that need validation rows', () => {
    expect(messageOf(`${minimal}  early_stopping_patience: 2\n`)).toBe(
      'run.yaml:6:3: training.early_stopping_patience needs data.validation or data.validation_split',
    );
    const config = loadConfig(`${minimal}  early_stopping_patience: 2\n`, 'run.yaml', ['data.validation_split=0.1']);
    expect(config.training.early_stopping_patience).toBe(2);
  });

  it('include options of another optimiser', () => {
    expect(messageOf(`${minimal}  momentum: 0.9\n`)).toBe('run.yaml:6:3: training.momentum needs training.optim sgd');
    expect(loadConfig(`${minimal}  momentum: 0.9\n  optim: sgd\n`, 'run.yaml').training.momentum).toBe(0.9);
  });
});
