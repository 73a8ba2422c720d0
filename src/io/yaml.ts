import { parseDocument, type Document, type LineCounter } from 'yaml';

/** How deep lists and sections may be nested. */
const MAX_DEPTH = 100;
const TOO_DEEP = `lists and sections are nested more than ${MAX_DEPTH} deep`;
/** Values of a document, those of aliases counted at each place. */
const MAX_VALUES = 2 ** 20;

/**
 * Parses YAML or JSON (which is YAML too), and takes care of what the library throws or leaves: text that is nested too
 * deep, aliases that multiply, and those that refer to themselves, whose values would have no end for whoever walks
 * them.
 * @param lines is told where lines begin.
 * @returns the document with its syntax errors, or what is wrong with its values.
 */
export function parseYaml(
  text: string,
  lines?: LineCounter,
): { readonly document?: Document.Parsed; readonly values?: unknown; readonly problem?: string } {
  let document: Document.Parsed;
  try {
    document = parseDocument(text, { prettyErrors: false, ...(lines === undefined ? {} : { lineCounter: lines }) });
    // The library catches a full stack in places, and calls it an error of the syntax.
    if (document.errors.some(({ message }) => message.includes('Maximum call stack'))) return { problem: TOO_DEEP };
    if (document.errors.length > 0) return { document };
    const values = document.toJS() as unknown;
    const problem = shapeProblem(values);
    return problem === undefined ? { document, values } : { problem };
  } catch (error) {
    if (error instanceof RangeError) return { problem: TOO_DEEP };
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

/** The values of a document. @throws Error saying what is wrong, without the file's name. */
export function yamlValues(text: string): unknown {
  const { document, values, problem } = parseYaml(text);
  const found = problem ?? document?.errors[0]?.message;
  if (found !== undefined) throw new Error(found);
  return values;
}

function shapeProblem(values: unknown): string | undefined {
  const open: { readonly value: unknown; readonly depth: number }[] = [{ value: values, depth: 0 }];
  let seen = 0;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, depth } = next;
    if (typeof value !== 'object' || value === null) continue;
    if (depth > MAX_DEPTH) return `${TOO_DEEP}, or an alias refers to itself`;
    for (const inner of Object.values(value)) open.push({ value: inner, depth: depth + 1 });
    seen += Object.keys(value).length;
    if (seen > MAX_VALUES) return `more than ${MAX_VALUES} values: do aliases multiply?`;
  }
  return undefined;
}
