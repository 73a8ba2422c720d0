import * as jinja from '@huggingface/jinja';

/** A value while a template is rendered. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
  __bool__(): { readonly value: boolean };
  toString(): string;
}

/** A node of a parsed template. */
export interface Node {
  readonly type: string;
}

/** Variables of a template or a part of it. */
export interface Scope {
  /** Declares a variable with data of JavaScript. */
  set(name: string, data: unknown): Value;
  setVariable(name: string, value: Value): Value;
  /** An undefined value where there is no such variable. */
  lookupVariable(name: string): Value;
}

interface Engine {
  run(program: Node): Value;
  evaluate(node: Node | undefined, scope: Scope): Value;
}

// The package's declarations of these name files without their endings, which TypeScript does not resolve.
export const Environment = jinja.Environment as unknown as new (parent?: Scope) => Scope;
export const Interpreter = jinja.Interpreter as unknown as new (scope: Scope) => Engine;

/** @throws Error saying what does not parse. */
export function parseTemplate(source: string): Node & { readonly body: readonly Node[] } {
  return new jinja.Template(source).parsed as unknown as Node & { readonly body: readonly Node[] };
}
