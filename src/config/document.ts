import { isAlias, isMap, isScalar, isSeq, LineCounter, type Document, type Node } from 'yaml';
import { ConfigError } from '../errors.js';
import { parseYaml } from '../io/yaml.js';

export type KeyPath = readonly (string | number)[];

/** A config file, parsed, that can still say where each value stands. */
export interface ConfigDocument {
  /** Plain objects, arrays and scalars. */
  readonly values: unknown;
  /** `file:line:column` of a key, or of the nearest section around it where the key is absent. */
  locate(path: KeyPath): string;
}

/**
 * Parses YAML or JSON (which is YAML too).
 * @throws ConfigError with the line and column of every syntax error.
 */
export function parseConfigDocument(text: string, fileName: string): ConfigDocument {
  const lines = new LineCounter();
  const { document, values, problem } = parseYaml(text, lines);
  if (document === undefined || problem !== undefined) throw new ConfigError(`${fileName}: ${problem}`);
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${fileName}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    throw new ConfigError(document.errors.map((error) => `${at(error.pos[0])}: ${error.message}`).join('\n'));
  }
  return {
    values,
    locate(path) {
      const offset = offsetOf(document, path);
      return offset === undefined ? fileName : at(offset);
    },
  };
}

function offsetOf(document: Document.Parsed, path: KeyPath): number | undefined {
  let offset: number | undefined;
  let node: unknown = document.contents;
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
      if (pair === undefined) break;
      offset = startOf(pair.key as Node) ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step];
      offset = startOf(node as Node | undefined) ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

function startOf(node: Node | null | undefined): number | undefined {
  return node?.range?.[0];
}
