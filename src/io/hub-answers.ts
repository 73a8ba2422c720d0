import { FormatError } from '../errors.js';
import { relativePath } from './directory.js';
import { isRecord } from './json.js';

/** A blob's name in the cache: the SHA-1 or SHA-256 of its content, or the hash of xet storage. */
const OBJECT_ID = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;
/** Pages of 1000 files. */
const MOST_PAGES = 1000;

/**
 * What the hub says of a file becomes paths in the cache.
 * @throws FormatError for a name that leads out of it, and for what is no size or hash.
 */
export function checkEntry(repo: string, entry: unknown): void {
  const refuse = (what: string, value: unknown): never => {
    throw new FormatError(`${repo}: the hub gave ${(JSON.stringify(value) ?? 'nothing').slice(0, 80)} as ${what}`);
  };
  if (!isRecord(entry)) return refuse('a file', entry);
  const { path, size, oid, xetHash, lfs } = entry;
  if (typeof path !== 'string') return refuse('the name of a file', path);
  relativePath(path, repo);
  if (!Number.isSafeInteger(size) || (size as number) < 0) return refuse(`the size of ${path}`, size);
  for (const id of [oid, xetHash, isRecord(lfs) ? lfs['oid'] : undefined]) {
    if (id !== undefined && id !== null && !(typeof id === 'string' && OBJECT_ID.test(id)))
      return refuse(`the hash of ${path}`, id);
  }
}

/**
 * fetch, with each list of files checked before the library makes paths of it.
 * @throws FormatError from the request, for a list that is none, or has no end.
 */
export function checkedFetch(repo: string): typeof fetch {
  let pages = 0;
  return async (input, init) => {
    const response = await fetch(input, init);
    const url = input instanceof Request ? input.url : String(input);
    if (!response.ok || !/\/api\/(?:models|datasets)\/[^?#]*\/(?:paths-info|tree)\//.test(url)) return response;
    if (url.includes('/tree/') && ++pages > MOST_PAGES)
      throw new FormatError(`${repo}: the hub's list of files has more than ${MOST_PAGES} pages`);
    const entries: unknown = await response
      .clone()
      .json()
      .catch(() => undefined);
    if (!Array.isArray(entries)) throw new FormatError(`${repo}: the hub gave no list of files`);
    for (const entry of entries as unknown[])
      if (!isRecord(entry) || entry['type'] !== 'directory') checkEntry(repo, entry);
    return response;
  };
}
