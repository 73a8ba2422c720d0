import { Template } from '@huggingface/jinja';

import { ConfigError, DataError } from '../errors.js';

/** A Jinja template that has been parsed once and is rendered many times. */
export interface CompiledTemplate {
  readonly name: string;
  /** Variables written out unconditionally (`{{ summary }}` outside of every `if` and `for`): a row must have them. */
  readonly requiredVariables: readonly string[];
  /** @throws DataError naming the template when rendering fails (`raise_exception` included). */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** Names the engine declares itself; declaring one of them again would throw, so a variable of that name is left out. */
const RESERVED = new Set(['true', 'false', 'none', 'True', 'False', 'None', 'range', 'raise_exception', 'strftime_now']);

/** Filters that give an absent variable a meaning. */
const DEFAULTING_FILTERS = new Set(['default', 'd']);

/**
 * Parses a Jinja template with the whitespace rules chat templates are written for (`trim_blocks`, `lstrip_blocks`, and
 * one newline at the very end of the source is dropped).
 * @throws ConfigError naming the template when the source does not parse.
 */
export function compileTemplate(source: string, name: string): CompiledTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw new ConfigError(`${name} does not parse: ${messageOf(error)}`);
  }
  const requiredVariables = findRequired(template.parsed.body);
  return {
    name,
    requiredVariables,
    render(variables) {
      const visible = Object.entries(variables).filter(([key, value]) => value !== undefined && !RESERVED.has(key));
      try {
        return template.render(Object.fromEntries(visible));
      } catch (error) {
        throw new DataError(`${name}: ${messageOf(error)}`);
      }
    },
  };
}

/** Parses and renders at once. */
export function renderTemplate(source: string, variables: Readonly<Record<string, unknown>>, name = 'template'): string {
  return compileTemplate(source, name).render(variables);
}

function findRequired(body: readonly unknown[]): string[] {
  const assigned = new Set<string>();
  const used = new Set<string>();
  for (const node of body) {
    if (nodeType(node) === 'Set') {
      const target = identifierOf(field(node, 'assignee'));
      if (target !== undefined) assigned.add(target);
      continue;
    }
    const name = writtenVariable(node);
    if (name !== undefined && !assigned.has(name) && !RESERVED.has(name)) used.add(name);
  }
  return [...used];
}

/** The variable of `{{ x }}`, `{{ x | filter }}`, `{{ x.key }}`, `{{ x[0] }}`, `{{ x.method() }}` or `{{ row['x'] }}`; undefined for anything else. */
function writtenVariable(node: unknown): string | undefined {
  let current = node;
  while (nodeType(current) === 'FilterExpression') {
    const filter = field(current, 'filter');
    const filterName = identifierOf(nodeType(filter) === 'CallExpression' ? field(filter, 'callee') : filter);
    if (filterName !== undefined && DEFAULTING_FILTERS.has(filterName)) return undefined;
    current = field(current, 'operand');
  }
  for (let type = nodeType(current); type === 'MemberExpression' || type === 'CallExpression'; type = nodeType(current)) {
    const object = field(current, type === 'CallExpression' ? 'callee' : 'object');
    if (type === 'CallExpression' && nodeType(object) !== 'MemberExpression') return undefined;
    if (type === 'MemberExpression' && identifierOf(object) === 'row') return keyOf(current);
    current = object;
  }
  return identifierOf(current);
}

/** The key of `x['key']` or `x.key`. */
function keyOf(member: unknown): string | undefined {
  const property = field(member, 'property');
  if (field(member, 'computed') !== true) return identifierOf(property);
  const value = nodeType(property) === 'StringLiteral' ? field(property, 'value') : undefined;
  return typeof value === 'string' ? value : undefined;
}

function identifierOf(node: unknown): string | undefined {
  const value = nodeType(node) === 'Identifier' ? field(node, 'value') : undefined;
  return typeof value === 'string' ? value : undefined;
}

function nodeType(node: unknown): unknown {
  return field(node, 'type');
}

function field(node: unknown, key: string): unknown {
  return typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[key] : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
