import { describe, expect, it } from 'vitest';
import { ConfigError, DataError } from '../../src/errors.js';
import { renderTemplate } from '../../src/tokenizer/template.js';

const DOUBLED =
  "{% set s = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set s.x = s.x + s.x %}{% endfor %}";

describe('a template that does not end, or fills the memory', () => {
  it.each([
    ['{{ range(1000000000) }}', /range: 1000000000 numbers: templates may make at most 262144/],
    ['{% set r = range %}{{ r(0, 1000000000, 1) }}', /range/],
    ['{% for i in range(1000000000) %}x{% endfor %}', /range/],
    [
      '{% for i in range(200000) %}{% for j in range(200000) %}{% endfor %}{% endfor %}',
      /does not end within 1048576 steps/,
    ],
    [
      '{% for i in range(20000) if range(20000) | length > 0 %}{% for j in range(2000) %}x{% endfor %}{% endfor %}',
      /steps|a text of/,
    ],
    [`${DOUBLED}{{ s.x }}`, /a text of \d+ characters: templates may make at most 4194304/],
    [
      '{% set s = namespace(x=[1]) %}{% for i in range(60) %}{% set s.x = s.x + s.x %}{% endfor %}',
      /steps|a list of \d+ entries/,
    ],
    ['{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}', /./],
    ['{% macro f(x) %}{% if x > 0 %}{{ f(x - 1) }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(60) }}', /steps/],
    ['{% for i in range(200000) %}{{ messages[0].content | upper | lower | trim }}{% endfor %}', /steps|a text of/],
    [
      "{% set s = namespace(x='a') %}{% for i in range(20) %}{% set s.x = s.x + s.x %}{% endfor %}{{ s.x.replace('a', s.x) }}",
      /a text of|[Ii]nvalid string length/,
    ],
    ["{{ 'a' * 1000000000 }}", /./],
    ["{{ ('a\\n' * 9) | indent(1000000000) }}", /./],
  ])('%s', (source, message) => {
    let error: unknown;
    try {
      renderTemplate(source, { messages: [{ content: 'word '.repeat(2000) }] }, 'chat template of m');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toMatch(/^chat template of m: /);
  });

  it('may be nested too deep to be read', () => {
    expect(() => renderTemplate(`{{ ${'('.repeat(50000)}1${')'.repeat(50000)} }}`, {})).toThrow(ConfigError);
    expect(() => renderTemplate(`${'{% if a %}'.repeat(20000)}${'{% endif %}'.repeat(20000)}`, {})).toThrow(
      ConfigError,
    );
  });

  it('long conversations are no such thing', () => {
    const messages = Array.from({ length: 1000 }, (_, i) => ({
      role: i % 2 === 0 ? 'user' : 'assistant',
      content: `turn ${i} `.repeat(100),
    }));
    const source =
      "{% for m in messages %}{% if m.role == 'user' and loop.index0 % 2 == 0 %}<u>{{ m.content | trim }}{% else %}<a>{{ m.content }}{% endif %}{% endfor %}";
    expect(renderTemplate(source, { messages }).length).toBeGreaterThan(800_000);
  });
});
