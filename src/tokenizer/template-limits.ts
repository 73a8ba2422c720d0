import { Interpreter, type Node, type Scope, type Value } from './engine.js';

/**
 * Evaluations of one rendering. A conversation of 1000 turns under the longest template in use takes 10^5; a second is
 * over by then.
 */
const MAX_STEPS = 2 ** 20;
/** Characters of a text; a context of 128,000 tokens has 10^6. */
export const MAX_TEXT = 2 ** 22;
/** Entries of a list. */
export const MAX_ITEMS = 2 ** 18;
/** Characters that count as a step where a text is made or passed on. */
const STEP_CHARACTERS = 128;
/** Steps for one pass of a loop: the engine makes twenty values for each. */
const PASS_STEPS = 16;

/**
 * The engine, with an end: templates come with models, and one of thirty characters could fill the memory or never end.
 */
export class BoundedInterpreter extends Interpreter {
  private steps = 0;
  private readonly loops = new WeakSet<Node>();

  override evaluate(node: Node | undefined, environment: Scope): Value {
    this.count(1);
    if (node?.type === 'For') {
      const { iterable } = node as { readonly iterable?: Node & { readonly lhs?: Node } };
      const list = iterable?.type === 'SelectExpression' ? iterable.lhs : iterable;
      if (list !== undefined) this.loops.add(list);
    }
    const value = this.evaluateNode(node, environment);
    if (value.type === 'StringValue') {
      const { length } = value.value as string;
      if (length > MAX_TEXT) throw new Error(`a text of ${length} characters: templates may make at most ${MAX_TEXT}`);
      this.count(length / STEP_CHARACTERS);
    } else if (value.type === 'ArrayValue' || value.type === 'TupleValue') {
      const { length } = value.value as unknown[];
      if (length > MAX_ITEMS) throw new Error(`a list of ${length} entries: templates may make at most ${MAX_ITEMS}`);
      if (node !== undefined && this.loops.has(node)) this.count(PASS_STEPS * length);
      // What a call or a filter gives was made for it.
      else if (node?.type !== 'Identifier' && node?.type !== 'MemberExpression') this.count(length);
    }
    return value;
  }

  /** What a node's value is; classes that answer for nodes of their own override this. */
  protected evaluateNode(node: Node | undefined, environment: Scope): Value {
    return super.evaluate(node, environment);
  }

  private count(steps: number): void {
    this.steps += steps;
    if (this.steps > MAX_STEPS)
      throw new Error(
        `it does not end within ${MAX_STEPS} steps: are its loops nested too deep, or its lists too long?`,
      );
  }
}
