import { alternative, schemaTree, type PathKind, type TypeNode } from './options.js';

/** `..` of a path is kept where it leads above the start, so that relative folders stay relative. */
export function joinPath(folder: string, path: string): string {
  if (isAbsolute(path)) return path;
  const whole = folder === '' ? path : `${folder}/${path}`;
  const root = /^(?:[A-Za-z]:)?[\\/]/.exec(whole)?.[0] ?? '';
  const parts: string[] = [];
  for (const part of whole.slice(root.length).split(/[\\/]/)) {
    if (part === '' || part === '.') continue;
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (part !== '..' || root === '') parts.push(part);
  }
  return root + parts.join('/') || '.';
}

/** The folder part of a file name; empty for a bare name. */
export function folderOf(fileName: string): string {
  const end = Math.max(fileName.lastIndexOf('/'), fileName.lastIndexOf('\\'));
  return end < 0 ? '' : fileName.slice(0, Math.max(end, 1));
}

/** Data files by their endings. */
const DATA_FILE = /\.(?:jsonl|json|csv|tsv|parquet|txt)(?:\.(?:gz|zst))?$/i;

/** `org/name[@revision]` where a path to data reads like a data set of the Hub: `hub:…`, or two bare names without the ending of a data file. */
export function hubDataset(path: string): string | undefined {
  if (path.startsWith('hub:')) return path.slice('hub:'.length);
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*(?:@[\w./-]+)?$/.test(path) && !DATA_FILE.test(path) ? path : undefined;
}

/** Resolves every path option of raw values against `folder`. Values of a wrong type are left for the schema to refuse. */
export function resolvePaths(values: unknown, folder: string): unknown {
  return resolveNode(values, schemaTree, folder);
}

function resolveNode(value: unknown, node: TypeNode, folder: string, kind = node.path): unknown {
  if (typeof value === 'string') return kind === undefined ? value : resolvePath(value, kind, folder);
  if (Array.isArray(value)) {
    const items = alternative(node, 'list')?.items;
    return items === undefined ? value : value.map((item) => resolveNode(item, items, folder, items.path ?? kind));
  }
  const { properties } = alternative(node, 'section') ?? {};
  if (properties === undefined || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const child = Object.hasOwn(properties, key) ? properties[key] : undefined;
      return [key, child === undefined ? (item as unknown) : resolveNode(item, child, folder)];
    }),
  );
}

function resolvePath(path: string, kind: PathKind, folder: string): string {
  const written = /^\.{1,2}(?:[\\/]|$)/.test(path);
  if (path === '' || (kind === 'reference' && !written) || (kind === 'data' && hubDataset(path) !== undefined)) return path;
  return joinPath(folder, path);
}

export function isAbsolute(path: string): boolean {
  return /^(?:[\\/]|[A-Za-z]:[\\/])/.test(path);
}
