import * as z from 'zod';
import { runConfigSchema } from './schema.js';

/** The parts of JSON Schema that the options need. */
export interface TypeNode {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: string | number | boolean;
  readonly anyOf?: readonly TypeNode[];
  /** Sections of which the value of `type` chooses one. */
  readonly oneOf?: readonly TypeNode[];
  readonly items?: TypeNode;
  readonly properties?: Readonly<Record<string, TypeNode>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly default?: unknown;
  readonly description?: string;
  /** Stands for a type that takes many words. */
  readonly title?: string;
  readonly path?: PathKind;
}

/** What is resolved against the folder of the config; see schema.ts. */
export type PathKind = 'file' | 'reference' | 'data';

/** One option as the help, the reference page and the error messages show it. */
export interface Option {
  /** Dotted, as `--set` takes it: `training.learning_rate`. */
  readonly path: string;
  /** In words: "an integer ≥ 1". */
  readonly type: string;
  readonly required: boolean;
  /** Absent where the option is required or off unless given. */
  readonly default?: unknown;
  readonly description: string;
  /** Keys of a value that is a section. */
  readonly entries?: readonly Option[];
}

export interface OptionSection {
  /** Empty for the options at the top level. */
  readonly name: string;
  readonly description: string;
  readonly options: readonly Option[];
}

/** The schema as data. Zod's own JSON Schema export is the public way to look into a schema. */
export const schemaTree = z.toJSONSchema(runConfigSchema, { io: 'input' }) as TypeNode;

/** Every option in the order of the schema, the top level first. */
export const optionSections: readonly OptionSection[] = listSections();

export const allOptions: readonly Option[] = optionSections.flatMap((section) => section.options);

function listSections(): OptionSection[] {
  const top: Option[] = [];
  const sections: OptionSection[] = [{ name: '', description: 'The model and where it runs.', options: top }];
  for (const [key, node] of Object.entries(schemaTree.properties ?? {})) {
    if (node.properties === undefined) {
      top.push(optionOf(key, node, schemaTree.required?.includes(key) ?? false));
      continue;
    }
    const options = Object.entries(node.properties).map(([name, leaf]) =>
      optionOf(`${key}.${name}`, leaf, node.required?.includes(name) ?? false),
    );
    sections.push({ name: key, description: node.description ?? '', options });
  }
  return sections;
}

function optionOf(path: string, node: TypeNode, required: boolean): Option {
  const entry = alternative(node, 'section');
  return {
    path,
    type: describeType(node),
    required,
    description: node.description ?? '',
    ...(node.default === undefined ? {} : { default: node.default }),
    ...(entry?.properties === undefined
      ? {}
      : {
          entries: Object.entries(entry.properties).map(([name, leaf]) =>
            optionOf(
              `${path}${alternative(node, 'list') === undefined ? '' : '[]'}.${name}`,
              leaf,
              entry.required?.includes(name) ?? false,
            ),
          ),
        }),
  };
}

/** The form of a node that is a section with keys of its own, or a list. */
export function alternative(node: TypeNode, form: 'section' | 'list'): TypeNode | undefined {
  return [node, ...(node.anyOf ?? []), ...(node.oneOf ?? [])].find(
    (each) => (form === 'section' ? each.properties : each.items) !== undefined,
  );
}

/** What a value must be, in words that fit after "must be". */
export function describeType(node: TypeNode): string {
  if (node.title !== undefined) return node.title;
  if (node.enum !== undefined) return alternatives(node.enum.map(String));
  if (node.const !== undefined) return String(node.const);
  if (node.oneOf !== undefined) return 'an entry';
  if (node.anyOf !== undefined)
    return alternatives(node.anyOf.map((each) => (each.properties === undefined ? describeType(each) : 'an entry')));
  switch (node.type) {
    case 'boolean':
      return 'true or false';
    case 'integer':
      return `an integer${describeRange(node)}`;
    case 'number':
      return `a number${describeRange(node)}`;
    case 'array':
      return (node.items?.anyOf ?? node.items?.enum) !== undefined
        ? 'a list of these'
        : `a list of ${plural(describeType(node.items ?? {}))}`;
    case 'object':
      return node.properties === undefined
        ? 'a section'
        : `a section with the keys ${Object.keys(node.properties).join(', ')}`;
    default:
      return 'a string';
  }
}

/** `an integer ≥ 0` to `integers ≥ 0`. */
function plural(type: string): string {
  return type.replace(/^an? (\w+)/, '$1s');
}

function alternatives(parts: readonly string[]): string {
  if (parts.length === 1) return parts[0] ?? '';
  return `${parts.slice(0, -1).join(', ')} or ${parts.at(-1) ?? ''}`;
}

function describeRange(node: TypeNode): string {
  const bounds: string[] = [];
  if (node.exclusiveMinimum !== undefined) bounds.push(`> ${node.exclusiveMinimum}`);
  // Zod bounds every integer by the largest safe one, which nobody wants to read.
  if (node.minimum !== undefined && node.minimum > -Number.MAX_SAFE_INTEGER) bounds.push(`≥ ${node.minimum}`);
  if (node.exclusiveMaximum !== undefined) bounds.push(`< ${node.exclusiveMaximum}`);
  if (node.maximum !== undefined && node.maximum < Number.MAX_SAFE_INTEGER) bounds.push(`≤ ${node.maximum}`);
  return bounds.length === 0 ? '' : ` ${bounds.join(' and ')}`;
}
