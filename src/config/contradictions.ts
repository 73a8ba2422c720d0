import { METHOD_NAMES, optionsOfMethod, otherMethodsWithOption } from '../adapters/options.js';
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
  const report = (option: string, message: string): void => {
    problems.push({ path: ['adapter', option], message });
  };
  const method = section['method'] ?? 'lora';
  for (const option of Object.keys(section)) {
    const owners = otherMethodsWithOption(option, method);
    if (owners !== undefined)
      report(
        option,
        `belongs to method ${owners.join(' and ')}, not ${typeof method === 'string' ? method : 'that one'}`,
      );
  }
  const known = METHOD_NAMES.find((name) => name === method);
  if (known === undefined) return problems;
  const { contradictions, floatBaseOnly } = optionsOfMethod(known);
  contradictions?.({ section, valueAt: (path) => valueAt(values, path.split('.')) }, report);
  if (floatBaseOnly !== undefined && valueAt(values, ['quantization', 'load_in_4bit']) === true)
    report('method', `${known} contradicts quantization.load_in_4bit: ${floatBaseOnly}`);
  return problems;
}
