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

/**
 * `org/name[@revision]` where a path to data reads like a data set of the Hub: `hub:…`, or two bare names without the
 * ending of a data file.
 */
export function hubDataset(path: string): string | undefined {
  if (path.startsWith('hub:')) return path.slice('hub:'.length);
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*(?:@[\w./-]+)?$/.test(path) && !DATA_FILE.test(path)
    ? path
    : undefined;
}

/**
 * Resolves every path option of raw values against `folder`. Values of a wrong type are left for the schema to refuse.
 */
export function resolvePaths(values: unknown, folder: string): unknown {
  return mapPaths(values, schemaTree, (path, kind) => resolvePath(path, kind, folder));
}

/**
 * The inverse of {@link resolvePaths}: every path option as it is written in a config that lies in `folder`. A folder
 * that is moved along with what it names still finds it. What cannot be said so, on another drive or beside an unknown
 * folder, stays as it is.
 */
export function relativePaths<T>(values: T, folder: string): T {
  return mapPaths(values, schemaTree, (path, kind) => writtenPath(path, kind, folder)) as T;
}

function mapPaths(
  value: unknown,
  node: TypeNode,
  map: (path: string, kind: PathKind) => string,
  kind = node.path,
): unknown {
  if (typeof value === 'string') return kind === undefined ? value : map(value, kind);
  if (Array.isArray(value)) {
    const items = alternative(node, 'list')?.items;
    return items === undefined ? value : value.map((item) => mapPaths(item, items, map, items.path ?? kind));
  }
  const { properties } = alternative(node, 'section') ?? {};
  if (properties === undefined || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const child = Object.hasOwn(properties, key) ? properties[key] : undefined;
      return [key, child === undefined ? (item as unknown) : mapPaths(item, child, map)];
    }),
  );
}

function resolvePath(path: string, kind: PathKind, folder: string): string {
  const written = /^\.{1,2}(?:[\\/]|$)/.test(path);
  if (path === '' || (kind === 'reference' && !written) || (kind === 'data' && hubDataset(path) !== undefined))
    return path;
  const joined = joinPath(folder, path);
  // Without its dots a path would read like an id of the Hub.
  return kind === 'reference' && !isAbsolute(joined) && !joined.startsWith('..') ? `./${joined}` : joined;
}

function writtenPath(path: string, kind: PathKind, folder: string): string {
  // Ids of the Hub, and texts in the place of a file.
  const names =
    isAbsolute(path) ||
    kind === 'file' ||
    (kind === 'data' && hubDataset(path) === undefined) ||
    /^\.{1,2}(?:[\\/]|$)/.test(path);
  return names ? (relativePath(folder, path) ?? path) : path;
}

/**
 * `../base` from a folder to a path, beginning with `./` or `../`; undefined where only one of the two is absolute, or
 * the way leads through a folder without a name.
 */
export function relativePath(folder: string, path: string): string | undefined {
  const [from, to] = [folder, path].map((each) => joinPath('', each === '' ? '.' : each)) as [string, string];
  const rootOf = (each: string): string => /^(?:[A-Za-z]:)?[\\/]/.exec(each)?.[0] ?? '';
  if (rootOf(from).toLowerCase() !== rootOf(to).toLowerCase()) return undefined;
  const parts = (each: string): string[] =>
    each
      .slice(rootOf(each).length)
      .split('/')
      .filter((part) => part !== '' && part !== '.');
  const [up, down] = [parts(from), parts(to)];
  while (up.length > 0 && up[0] === down[0]) {
    up.shift();
    down.shift();
  }
  if (up.includes('..')) return undefined;
  const way = [...up.map(() => '..'), ...down].join('/');
  return up.length > 0 ? way : `./${way}`;
}

export function isAbsolute(path: string): boolean {
  return /^(?:[\\/]|[A-Za-z]:[\\/])/.test(path);
}
