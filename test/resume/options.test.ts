import { describe, expect, it } from 'vitest';
import { allOptions } from '../../src/config/options.js';
import { runConfigSchema, type RunConfig } from '../../src/config/schema.js';
import { MAY_CHANGE, optionDifferences } from '../../src/resume/options.js';

const configOf = (data: object, training: object = {}): RunConfig =>
  runConfigSchema.parse({
    model: 'm',
    data: { train: 'a.jsonl', ...data },
    training: { output_dir: 'o', ...training },
  });

const differences = (before: RunConfig, now: RunConfig, of?: 'finished'): string[] =>
  optionDifferences(JSON.parse(JSON.stringify(before)), now, of);

describe('options of a run that goes on', () => {
  it('that may change are options', () => {
    const paths = allOptions.map((option) => option.path);
    for (const path of Object.keys(MAY_CHANGE)) expect(paths).toContain(path);
  });

  it('may change where they only say where things lie, and what is told', () => {
    const training = {
      output_dir: 'p',
      logging_steps: 1,
      save_strategy: 'no',
      load_best_model_at_end: false,
      resume_from_checkpoint: true,
    };
    expect(differences(configOf({}), configOf({ train: ['b.jsonl'], test: 't.jsonl' }, training))).toEqual([]);
  });

  it('may not change how data is read and weighed', () => {
    const entry = { path: 'a.jsonl', weight: 1, template: '{{ a }}' };
    expect(
      differences(configOf({ train: [entry] }), configOf({ train: [{ ...entry, path: 'b.jsonl', name: 'b' }] })),
    ).toEqual([]);
    expect(differences(configOf({ train: [entry] }), configOf({ train: [{ ...entry, weight: 2 }] }))).toEqual([
      'data.train was [{"template":"{{ a }}","weight":1}] and is [{"template":"{{ a }}","weight":2}]',
    ]);
    expect(differences(configOf({}), configOf({ max_length: 9, validation: 'v.jsonl' }))).toEqual([
      'data.max_length was 512 and is 9',
      'data.validation was absent and is [{}]',
    ]);
  });

  it('may make a run longer where the rate of a step does not depend on its length', () => {
    const longer = { num_train_epochs: 9 };
    expect(differences(configOf({}), configOf({}, longer))).toEqual(['training.num_train_epochs was 3 and is 9']);
    const constant = { lr_scheduler_type: 'constant_with_warmup', warmup_steps: 3 };
    expect(differences(configOf({}, constant), configOf({}, { ...constant, ...longer }))).toEqual([]);
    const ratio = { lr_scheduler_type: 'constant_with_warmup', warmup_ratio: 0.1 };
    expect(differences(configOf({}, ratio), configOf({}, { ...ratio, ...longer }))).toHaveLength(1);
    // One that is finished is of its own length.
    expect(differences(configOf({}, constant), configOf({}, { ...constant, ...longer }), 'finished')).toEqual([
      'training.num_train_epochs was 3 and is 9',
    ]);
  });

  it('may differ from those of a finished run only where they change no number of it', () => {
    const untold = { output_dir: 'p', logging_steps: 1, save_strategy: 'no', resume_from_checkpoint: true };
    expect(differences(configOf({ test: 't.jsonl' }), configOf({ test: ['moved.jsonl'] }, untold), 'finished')).toEqual(
      [],
    );
    expect(differences(configOf({}), configOf({ test: 't.jsonl' }), 'finished')).toEqual([
      'data.test was absent and is [{}]',
    ]);
    expect(
      differences(
        configOf({ validation: 'v.jsonl' }),
        configOf({ validation: 'v.jsonl' }, { load_best_model_at_end: false, max_steps: 9 }),
        'finished',
      ),
    ).toEqual(['training.max_steps was -1 and is 9', 'training.load_best_model_at_end was true and is false']);
  });
});
