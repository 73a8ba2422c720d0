import { Environment, type Node, type Scope, type Value } from './engine.js';
import { stripText } from './python-text.js';
import { field, identifier, type GenerationNode, type IterationNode, type OutputNode } from './syntax.js';
import { BoundedInterpreter } from './template-limits.js';
import { jsonText, nothingValue, printed, textValue, type JsonOptions } from './values.js';

/** Which places of a rendered text are marked, and how. */
export interface Tracer {
  /** Text of a mark. */
  mark(kind: 'generation' | 'generation-end' | 'message' | 'message-end', index: number): string;
  /** Place of a value among the messages; undefined for any other. */
  indexOf(value: Value): number | undefined;
}

/** Sides that the methods of a text take characters from: left, right. */
const STRIPS: Readonly<Record<string, readonly [boolean, boolean]>> = {
  strip: [true, true],
  lstrip: [true, false],
  rstrip: [false, true],
};

/**
 * The engine, with Python's answers where it has others of its own: characters to strip, JSON, how values are written
 * out, and texts added to what is no text. With a tracer it marks what stands within `generation` tags and what each
 * message has written.
 */
export class TemplateInterpreter extends BoundedInterpreter {
  constructor(
    environment: Scope,
    private readonly tracer: Tracer | undefined,
  ) {
    super(environment);
  }

  protected override evaluateNode(node: Node | undefined, environment: Scope): Value {
    switch (node?.type) {
      case 'Output':
        return this.write((node as OutputNode).expression, environment);
      case 'Generation':
        return this.generation(node as GenerationNode, environment);
      case 'IterationBegin':
      case 'IterationEnd':
        return this.iteration(node as IterationNode, environment);
      case 'Constant':
        return field(node, 'value') as Value;
      case 'CallExpression':
        return this.strip(node, environment) ?? super.evaluateNode(node, environment);
      case 'FilterExpression':
        return this.filter(node, environment) ?? super.evaluateNode(node, environment);
      case 'BinaryExpression':
        return this.join(node, environment) ?? super.evaluateNode(node, environment);
      default:
        return super.evaluateNode(node, environment);
    }
  }

  private write(expression: Node, environment: Scope): Value {
    const value = this.evaluate(expression, environment);
    return value.type === 'StringValue' ? value : textValue(printed(value));
  }

  /** The body has a scope of its own, as in transformers, where it is a call block. */
  private generation({ body }: GenerationNode, environment: Scope): Value {
    const written = this.evaluate({ type: 'Program', body } as Node, new Environment(environment));
    if (this.tracer === undefined) return written;
    return textValue(
      this.tracer.mark('generation', 0) + (written.value as string) + this.tracer.mark('generation-end', 0),
    );
  }

  private iteration({ type, variables }: IterationNode, environment: Scope): Value {
    if (this.tracer !== undefined) {
      for (const name of variables) {
        const index = this.tracer.indexOf(environment.lookupVariable(name));
        if (index !== undefined)
          return textValue(this.tracer.mark(type === 'IterationBegin' ? 'message' : 'message-end', index));
      }
    }
    return nothingValue();
  }

  /** `text.strip(chars)` and its like; undefined for any other call. */
  private strip(node: Node, environment: Scope): Value | undefined {
    const callee = field(node, 'callee');
    if (field(callee, 'type') !== 'MemberExpression' || field(callee, 'computed') === true) return undefined;
    const sides = STRIPS[identifier(field(callee, 'property')) ?? ''];
    if (sides === undefined) return undefined;
    const operand = this.evaluate(field(callee, 'object') as Node, environment);
    if (operand.type !== 'StringValue') return undefined;
    const [chars] = this.argumentsOf(node, ['chars'], environment);
    return textValue(stripText(operand.value as string, charsOf(chars), ...sides));
  }

  private filter(node: Node, environment: Scope): Value | undefined {
    const filter = field(node, 'filter') as Node;
    const name = identifier(filter.type === 'CallExpression' ? field(filter, 'callee') : filter);
    if (name !== 'tojson' && name !== 'trim' && name !== 'string') return undefined;
    const operand = this.evaluate(field(node, 'operand') as Node, environment);
    if (name === 'string') return textValue(printed(operand));
    if (name === 'tojson')
      return textValue(
        jsonText(
          operand,
          jsonOptions(this.argumentsOf(filter, ['ensure_ascii', 'indent', 'separators', 'sort_keys'], environment)),
        ),
      );
    const [chars] = this.argumentsOf(filter, ['chars'], environment);
    return textValue(stripText(printed(operand), charsOf(chars), true, true));
  }

  /** `~`, and `+` of a text and what cannot be added to one. */
  private join(node: Node, environment: Scope): Value | undefined {
    const operator = field(field(node, 'operator'), 'value');
    if (operator !== '~' && operator !== '+') return undefined;
    const left = this.evaluate(field(node, 'left') as Node, environment);
    const right = this.evaluate(field(node, 'right') as Node, environment);
    if (operator === '~') return textValue(printed(left) + printed(right));
    const texts = [left, right].filter(({ type }) => type === 'StringValue').length;
    if (texts === 2) return textValue((left.value as string) + (right.value as string));
    const other = left.type === 'StringValue' ? right : left;
    if (texts === 1 && ['ObjectValue', 'ArrayValue', 'TupleValue'].includes(other.type)) {
      throw new Error(
        `cannot add ${other.type === 'ObjectValue' ? 'an object' : 'a list'} to a text (the filter tojson makes a text of it)`,
      );
    }
    return super.evaluateNode({ ...node, left: constant(left), right: constant(right) } as Node, environment);
  }

  /** Arguments of a call by their names, in this order. */
  private argumentsOf(node: Node, names: readonly string[], environment: Scope): (Value | undefined)[] {
    const values: (Value | undefined)[] = names.map(() => undefined);
    if (node.type !== 'CallExpression') return values;
    (field(node, 'args') as Node[]).forEach((argument, position) => {
      const named = argument.type === 'KeywordArgumentExpression';
      const at = named ? names.indexOf(identifier(field(argument, 'key')) ?? '') : position;
      if (at < 0 || at >= names.length) throw new Error(`unknown argument; there are ${names.join(', ')}`);
      values[at] = this.evaluate(named ? (field(argument, 'value') as Node) : argument, environment);
    });
    return values;
  }
}

/** An operand that has its value already: nothing may be evaluated twice. */
function constant(value: Value): Node {
  return { type: 'Constant', value } as unknown as Node;
}

function charsOf(value: Value | undefined): string | undefined {
  if (value === undefined || value.type === 'NullValue') return undefined;
  if (value.type !== 'StringValue') throw new Error('the characters to strip must be a text');
  return value.value as string;
}

function jsonOptions([ensureAscii, indent, separators, sortKeys]: readonly (Value | undefined)[]): JsonOptions {
  const pair = separators?.value as Value[] | null | undefined;
  return {
    ensureAscii: ensureAscii?.__bool__().value ?? false,
    indent: (indent?.value as number | string | null | undefined) ?? null,
    separators: pair === null || pair === undefined ? null : [printed(pair[0] as Value), printed(pair[1] as Value)],
    sortKeys: sortKeys?.__bool__().value ?? false,
  };
}
