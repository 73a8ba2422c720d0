import { describe, expect, it } from 'vitest';

import { ConfigError, DataError } from '../../src/errors.js';
import { compileTemplate, renderTemplate } from '../../src/tokenizer/template.js';

describe('compileTemplate', () => {
  it('says which variables must be there', () => {
    const source =
      "{{ a }}{{ b | trim | upper }}{{ c | default('x') }}{% if d %}{{ d }}{% endif %}{% set e = 1 %}{{ e }}{% for f in g %}{{ f }}{% endfor %}";
    expect(compileTemplate(source, 't').requiredVariables).toEqual(['a', 'b']);
  });

  it('leaves variables out that the engine has for itself', () => {
    expect(renderTemplate('{{ x }}{% for i in range(2) %}{{ i }}{% endfor %}', { x: 'y', range: 'mine', true: false })).toBe('y01');
  });

  it('drops one newline at the end, as Jinja does', () => {
    expect(renderTemplate('{{ x }}\n\n', { x: 'y' })).toBe('y\n');
  });

  it('names the template in what it throws', () => {
    expect(() => compileTemplate('{{ x', 'template 2 of 3')).toThrow(ConfigError);
    expect(() => compileTemplate('{{ x', 'template 2 of 3')).toThrow('template 2 of 3');
    expect(() => renderTemplate("{{ raise_exception('bad') }}", {}, 'mine')).toThrow(DataError);
    expect(() => renderTemplate("{{ raise_exception('bad') }}", {}, 'mine')).toThrow('mine: bad');
  });
});
