import type { Problem } from './problems.js';
import { valueAt } from './overrides.js';

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
  return problems;
}
