import { allOptions } from './options.js';
import { valueAt, withValue } from './overrides.js';

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

/** Resolves every path option of raw values against `folder`. Values of a wrong type are left for the schema to refuse. */
export function resolvePaths(values: unknown, folder: string): unknown {
  let resolved = values;
  for (const option of allOptions) {
    if (option.resolves === undefined) continue;
    const keys = option.path.split('.');
    const value = valueAt(values, keys);
    if (value === undefined) continue;
    const resolve = (path: unknown): unknown =>
      typeof path === 'string' && path !== '' && (option.resolves === 'file' || /^\.{1,2}(?:[\\/]|$)/.test(path))
        ? joinPath(folder, path)
        : path;
    resolved = withValue(resolved, keys, Array.isArray(value) ? value.map(resolve) : resolve(value));
  }
  return resolved;
}

function isAbsolute(path: string): boolean {
  return /^(?:[\\/]|[A-Za-z]:[\\/])/.test(path);
}
