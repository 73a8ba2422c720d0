import { ConfigError } from '../errors.js';
import { compileTemplate, type CompiledTemplate } from '../tokenizer/template.js';
import { describeValue, type JsonRow } from './row.js';

const IDENTIFIER = /^[\p{L}_][\p{L}\p{N}_]*$/u;

/**
 * Parses a template over the fields of rows.
 * @param first a row, whose field names tell what a template that does not parse was meant to say.
 * @throws ConfigError naming the template; it shows how a field is written whose name has blanks or signs.
 */
export function compileRowTemplate(source: string, name: string, first: JsonRow): CompiledTemplate {
  const odd = Object.keys(first).filter((field) => !IDENTIFIER.test(field) && writesPlainly(source, field));
  if (odd.length > 0) {
    const right = odd.map((field) => `{{ ${field} }} as {{ ${rowEntry(field)} }}`).join(', ');
    throw new ConfigError(`${name}: field names with blanks or signs need row['…']: write ${right}`);
  }
  return compileTemplate(source, name);
}

/**
 * The text of a row.
 * @returns the text, or which fields the template writes that the row lacks.
 * @throws DataError when rendering fails.
 */
export function writeRow(template: CompiledTemplate, row: JsonRow): string | { readonly problem: string } {
  const absent = template.requiredVariables.filter((name) => name !== 'row' && (row[name] ?? null) === null);
  if (absent.length > 0) {
    const found = absent.map((name) => `"${name}" (found ${describeValue(row[name])})`).join(', ');
    const has = Object.keys(row)
      .map((key) => `"${key}"`)
      .join(', ');
    return { problem: `${template.name} needs ${found}; the row has ${has || 'no fields'}` };
  }
  return template.render({ ...row, row });
}

/** Words that mean something else in Jinja, or in the templates of rows. */
const RESERVED = new Set([
  'and',
  'or',
  'not',
  'in',
  'is',
  'if',
  'else',
  'true',
  'false',
  'none',
  'row',
  'range',
  'loop',
  'namespace',
  'raise_exception',
  'strftime_now',
]);

/** A field in an expression: `summary`, or `row['Dialogue Text']` for a name that is no word of Jinja's. */
export function fieldExpression(field: string): string {
  return IDENTIFIER.test(field) && !RESERVED.has(field.toLowerCase()) ? field : rowEntry(field);
}

/** `row['Dialogue Text']`, which may be null or absent. */
export function rowEntry(field: string): string {
  return `row[${quoted(field)}]`;
}

/**
 * Whether a template has the name in place of an expression, as in `{{ Dialogue Text }}` or `{{ Dialogue Text | trim
 * }}`.
 */
function writesPlainly(source: string, field: string): boolean {
  return source
    .split('{{')
    .slice(1)
    .some((rest) => {
      const [before = ''] = rest.split('}}');
      const [expression = ''] = before.split('|');
      return expression.replace(/^-|-$/g, '').trim() === field;
    });
}

function quoted(text: string): string {
  const escaped = text.replaceAll('\\', '\\\\');
  return escaped.includes("'") && !escaped.includes('"') ? `"${escaped}"` : `'${escaped.replaceAll("'", "\\'")}'`;
}
