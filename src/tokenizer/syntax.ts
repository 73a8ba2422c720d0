import type { Node } from './engine.js';
import { GENERATION } from './generation-tags.js';

/** Nodes of this project among those of the engine. */
export interface OutputNode extends Node {
  /** An expression whose value is written out as Python writes it. */
  readonly type: 'Output';
  readonly expression: Node;
}

export interface GenerationNode extends Node {
  readonly type: 'Generation';
  readonly body: Node[];
}

export interface IterationNode extends Node {
  /** Begin or end of one pass of a loop. */
  readonly type: 'IterationBegin' | 'IterationEnd';
  readonly variables: readonly string[];
}

/** Lists of statements in a node, by the names of their fields. */
const BODIES = ['body', 'alternate', 'defaultBlock'] as const;

const STATEMENTS = new Set([
  'If',
  'For',
  'Break',
  'Continue',
  'Set',
  'Macro',
  'Comment',
  'FilterStatement',
  'CallStatement',
  'StringLiteral',
]);

/** Rewrites a parsed template in place; returns whether it marks what an assistant writes. */
export function rewriteProgram(program: Node): boolean {
  const found = { marks: false };
  rewriteBodies(program, found);
  return found.marks;
}

function rewriteBodies(node: Node, found: { marks: boolean }): void {
  for (const name of BODIES) {
    const body = field(node, name);
    if (Array.isArray(body))
      (node as unknown as Record<string, unknown>)[name] = (body as Node[]).map((statement) =>
        rewrite(statement, found),
      );
  }
}

function rewrite(node: Node, found: { marks: boolean }): Node {
  rewriteBodies(node, found);
  if (node.type === 'CallStatement' && identifier(field(field(node, 'call'), 'callee')) === GENERATION) {
    found.marks = true;
    return like(node, { type: 'Generation', body: field(node, 'body') });
  }
  if (node.type === 'For') {
    const variables = loopVariables(field(node, 'loopvar'));
    const body = field(node, 'body') as Node[];
    (node as unknown as Record<string, unknown>)['body'] = [
      like(node, { type: 'IterationBegin', variables }),
      ...body,
      like(node, { type: 'IterationEnd', variables }),
    ];
  }
  return STATEMENTS.has(node.type) ? node : like(node, { type: 'Output', expression: node });
}

/** A node that the engine takes for one of its own when it searches macros for the arguments that they read. */
function like(node: Node, fields: object): Node {
  return Object.assign(Object.create(Object.getPrototypeOf(node) as object) as Node, fields);
}

function loopVariables(target: unknown): string[] {
  const items = field(target, 'type') === 'TupleLiteral' ? (field(target, 'value') as unknown[]) : [target];
  return items.map(identifier).filter((name) => name !== undefined);
}

export function identifier(node: unknown): string | undefined {
  const value = field(node, 'type') === 'Identifier' ? field(node, 'value') : undefined;
  return typeof value === 'string' ? value : undefined;
}

export function field(node: unknown, key: string): unknown {
  return typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[key] : undefined;
}
