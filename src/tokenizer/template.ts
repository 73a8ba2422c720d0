import { ConfigError, DataError } from '../errors.js';
import { Environment, parseTemplate, type Scope } from './engine.js';
import { spellGenerationTags } from './generation-tags.js';
import { declareGlobals, GLOBAL_NAMES } from './globals.js';
import { TemplateInterpreter, type Tracer } from './interpreter.js';
import { field, identifier, rewriteProgram } from './syntax.js';
import { TraceMarks, type TracedText } from './trace.js';
import { toValue } from './values.js';

/** A Jinja template that has been parsed once and is rendered many times. */
export interface CompiledTemplate {
  readonly name: string;
  /** Variables written out unconditionally (`{{ summary }}` outside of every `if` and `for`): a row must have them. */
  readonly requiredVariables: readonly string[];
  /** The source has `{% generation %}` tags. */
  readonly marksGeneration: boolean;
  /** @throws DataError naming the template when rendering fails (`raise_exception` included). */
  render(variables: TemplateVariables): string;
  /**
   * Renders and finds out which part of the text is written within `generation` tags, and which by each of the
   * `messages`.
   * @throws as render.
   */
  trace(variables: TemplateVariables): TracedText;
}

export type TemplateVariables = Readonly<Record<string, unknown>>;

/** Filters that give an absent variable a meaning. */
const DEFAULTING_FILTERS = new Set(['default', 'd']);

/**
 * Parses a Jinja template with the whitespace rules chat templates are written for (`trim_blocks`, `lstrip_blocks`, and
 * one newline at the very end of the source is dropped). Lines may end in CRLF or CR, as in Jinja.
 * @throws ConfigError naming the template when the source does not parse.
 */
export function compileTemplate(source: string, name: string): CompiledTemplate {
  let program: ReturnType<typeof parseTemplate>;
  let requiredVariables: readonly string[];
  let marksGeneration: boolean;
  try {
    program = parseTemplate(spellGenerationTags(source.replace(/\r\n?/g, '\n')));
    requiredVariables = findRequired(program.body);
    marksGeneration = rewriteProgram(program);
  } catch (error) {
    throw new ConfigError(`${name} does not parse: ${messageOf(error)}`);
  }
  const run = (environment: Scope, tracer?: Tracer): string => {
    try {
      return new TemplateInterpreter(environment, tracer).run(program).value as string;
    } catch (error) {
      throw new DataError(`${name}: ${messageOf(error)}`);
    }
  };
  return {
    name,
    requiredVariables,
    marksGeneration,
    render: (variables) => run(environmentOf(variables)),
    trace(variables) {
      const text = run(environmentOf(variables));
      const environment = environmentOf(variables);
      const marks = new TraceMarks(environment.lookupVariable('messages'), text);
      return marks.read(run(environment, marks), text);
    },
  };
}

function environmentOf(variables: TemplateVariables): Scope {
  const environment = new Environment();
  declareGlobals(environment);
  for (const [key, value] of Object.entries(variables)) {
    if (value !== undefined && !GLOBAL_NAMES.has(key)) environment.setVariable(key, toValue(value));
  }
  return environment;
}

/** Parses and renders at once. */
export function renderTemplate(source: string, variables: TemplateVariables, name = 'template'): string {
  return compileTemplate(source, name).render(variables);
}

function findRequired(body: readonly unknown[]): string[] {
  const assigned = new Set<string>();
  const used = new Set<string>();
  for (const node of body) {
    if (nodeType(node) === 'Set') {
      const target = identifier(field(node, 'assignee'));
      if (target !== undefined) assigned.add(target);
      continue;
    }
    const name = writtenVariable(node);
    if (name !== undefined && !assigned.has(name) && !GLOBAL_NAMES.has(name)) used.add(name);
  }
  return [...used];
}

/**
 * The variable of `{{ x }}`, `{{ x | filter }}`, `{{ x.key }}`, `{{ x[0] }}`, `{{ x.method() }}` or `{{ row['x'] }}`;
 * undefined for anything else.
 */
function writtenVariable(node: unknown): string | undefined {
  let current = node;
  while (nodeType(current) === 'FilterExpression') {
    const filter = field(current, 'filter');
    const filterName = identifier(nodeType(filter) === 'CallExpression' ? field(filter, 'callee') : filter);
    if (filterName !== undefined && DEFAULTING_FILTERS.has(filterName)) return undefined;
    current = field(current, 'operand');
  }
  for (
    let type = nodeType(current);
    type === 'MemberExpression' || type === 'CallExpression';
    type = nodeType(current)
  ) {
    const object = field(current, type === 'CallExpression' ? 'callee' : 'object');
    if (type === 'CallExpression' && nodeType(object) !== 'MemberExpression') return undefined;
    if (type === 'MemberExpression' && identifier(object) === 'row') return keyOf(current);
    current = object;
  }
  return identifier(current);
}

/** The key of `x['key']` or `x.key`. */
function keyOf(member: unknown): string | undefined {
  const property = field(member, 'property');
  if (field(member, 'computed') !== true) return identifier(property);
  const value = nodeType(property) === 'StringLiteral' ? field(property, 'value') : undefined;
  return typeof value === 'string' ? value : undefined;
}

function nodeType(node: unknown): unknown {
  return field(node, 'type');
}

function messageOf(error: unknown): string {
  // Of the engine, which calls itself for what is nested and for macros.
  if (error instanceof RangeError && error.message.includes('call stack'))
    return 'it is nested too deep, or a macro calls itself without end';
  return error instanceof Error ? error.message : String(error);
}
