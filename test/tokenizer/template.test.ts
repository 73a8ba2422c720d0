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
    expect(
      renderTemplate('{{ x }}{% for i in range(2) %}{{ i }}{% endfor %}', { x: 'y', range: 'mine', true: false }),
    ).toBe('y01');
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

  it('strips characters as Python does', () => {
    const text = '\n\n    total\n ';
    expect(
      renderTemplate(
        "{{ x.lstrip('\\n') }}|{{ x.rstrip(' \\n') }}|{{ x.strip() }}|{{ 'xxaxbxx'.strip('x') }}|{{ x | trim }}",
        { x: text },
      ),
    ).toBe('    total\n |\n\n    total|total|axb|total');
  });

  it('reads CRLF and CR as line breaks', () => {
    const source = '{% for m in messages %}\n<{{ m }}>\n{% endfor %}\nend\n';
    const expected = renderTemplate(source, { messages: [1, 2] });
    expect(renderTemplate(source.replaceAll('\n', '\r\n'), { messages: [1, 2] })).toBe(expected);
    expect(renderTemplate(source.replaceAll('\n', '\r'), { messages: [1, 2] })).toBe(expected);
  });

  it('writes values as Python does', () => {
    const values = { f: 0.00001, t: true, n: null, l: [1, "it's", { a: 1e300 }] };
    expect(renderTemplate('{{ f }} {{ t }} {{ n }} {{ l }} {{ l | tojson }} {{ 1.0 ~ 2 }}', values)).toBe(
      '1e-05 True None [1, "it\'s", {\'a\': 1e+300}] [1, "it\'s", {"a": 1e+300}] 1.02',
    );
    expect(
      renderTemplate('{{ x | tojson(indent=1, sort_keys=true, ensure_ascii=true) }}', { x: { b: 'é', a: [] } }),
    ).toBe('{\n "a": [],\n "b": "\\u00e9"\n}');
    expect(() => renderTemplate("{{ 'a' + x }}", { x: { a: 1 } })).toThrow('cannot add an object to a text');
  });
});
