import { methodOfOption } from './methods.js';
import { allOptions } from './options.js';
import type { Problem } from './problems.js';
import { isSection, valueAt } from './overrides.js';

/**
 * Options that are right by themselves and wrong together. Works on the values as written, before defaults, so that
 * these problems are told together with all others; a value of a wrong type is none of its business.
 */
export function contradictions(values: unknown): Problem[] {
  const problems: Problem[] = [];
  const given = (path: string): boolean => valueAt(values, path.split('.')) !== undefined;
  const number = (path: string): number => {
    const value = valueAt(values, path.split('.'));
    return typeof value === 'number' ? value : 0;
  };
  const blame = (path: string, message: string): void => {
    problems.push({ path: path.split('.'), message });
  };

  if (number('training.warmup_steps') > 0 && number('training.warmup_ratio') > 0) {
    blame('training.warmup_ratio', 'contradicts training.warmup_steps: give one of the two');
  }
  if (given('data.validation') && given('data.validation_split')) {
    blame('data.validation_split', 'contradicts data.validation: give one of the two');
  }
  if (given('data.template') && given('data.prompt_field')) {
    blame('data.prompt_field', 'contradicts data.template: give one of the two');
  }
  if (given('data.completion_template') && given('data.completion_field')) {
    blame('data.completion_field', 'contradicts data.completion_template: give one of the two');
  }
  const validated = given('data.validation') || given('data.validation_split');
  for (const option of ['training.eval_steps', 'training.early_stopping_patience']) {
    if (given(option) && !validated) blame(option, 'needs data.validation or data.validation_split');
  }
  if (given('training.save_steps') && valueAt(values, ['training', 'save_strategy']) !== 'steps')
    blame('training.save_steps', 'needs training.save_strategy steps');
  if (valueAt(values, ['training', 'objective']) === 'sequence_mean' && valueAt(values, ['data', 'packing']) === true)
    blame('training.objective', 'sequence_mean contradicts data.packing: several samples would be one row');
  if (number('training.momentum') > 0 && valueAt(values, ['training', 'optim']) !== 'sgd')
    blame('training.momentum', 'needs training.optim sgd');
  return [...problems, ...methodProblems(values)];
}

/** Options of the `adapter` section that its method does not take, or does not take as they are. */
function methodProblems(values: unknown): Problem[] {
  const problems: Problem[] = [];
  const section = valueAt(values, ['adapter']);
  if (!isSection(section)) return problems;
  const blame = (option: string, message: string): void => {
    problems.push({ path: ['adapter', option], message });
  };
  const method = section['method'] ?? 'lora';
  for (const option of Object.keys(section)) {
    const owner = methodOfOption(option);
    const known = allOptions.some(({ path }) => path === `adapter.${option}`);
    if (known && owner !== undefined && owner !== method)
      blame(option, `belongs to method ${owner}, not ${typeof method === 'string' ? method : 'that one'}`);
  }
  if (section['loftq_config'] !== undefined && section['init_lora_weights'] !== 'loftq')
    blame('loftq_config', 'needs adapter.init_lora_weights loftq');
  if (section['added_tokens'] !== undefined && section['init_from'] !== undefined)
    blame('added_tokens', 'contradicts adapter.init_from: the tokens are those of that adapter');
  if (section['layers_pattern'] !== undefined && section['layers_to_transform'] === undefined)
    blame('layers_pattern', 'needs adapter.layers_to_transform');
  const targets = section['target_modules'];
  if (section['layers_to_transform'] !== undefined && typeof targets === 'string' && targets !== 'all-linear') {
    blame(
      'layers_to_transform',
      'contradicts an expression in adapter.target_modules: that one has to say the layers itself',
    );
  }
  if (method === 'prompt_tuning') {
    const text = section['prompt_tuning_init_text'];
    if (section['prompt_tuning_init'] === 'TEXT' && text === undefined)
      blame('prompt_tuning_init_text', 'is required with prompt_tuning_init TEXT: a string');
    if (section['prompt_tuning_init'] !== 'TEXT' && text !== undefined)
      blame('prompt_tuning_init_text', 'needs prompt_tuning_init TEXT');
    if (valueAt(values, ['data', 'packing']) === true)
      blame(
        'method',
        'prompt_tuning contradicts data.packing: the vectors would stand before the first text of a row only',
      );
  }
  if (section['bottleneck_size'] !== undefined && section['reduction_factor'] !== undefined) {
    blame('reduction_factor', 'contradicts adapter.bottleneck_size: give one of the two');
  }
  if (method === 'full' && valueAt(values, ['quantization', 'load_in_4bit']) === true) {
    blame('method', 'full contradicts quantization.load_in_4bit: a weight held in 4 bits takes no gradient');
  }
  if (
    method === 'layers' &&
    section['num_trainable_layers'] === 0 &&
    section['train_norms'] !== true &&
    section['train_head'] !== true
  ) {
    blame(
      'num_trainable_layers',
      'leaves nothing to train: 0 layers, without adapter.train_norms and adapter.train_head',
    );
  }
  return problems;
}
