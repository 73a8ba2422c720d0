import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { resolveDirectory } from '../../src/io/hub.js';
import type { Files } from './mutate.js';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const CONTENT: Readonly<Record<string, string>> = { 'config.json': '{"a": 1}', 'model.safetensors': '12345678' };

const entry = (path: string, more: object = {}): object => ({
  type: 'file',
  path,
  size: 8,
  oid: 'b'.repeat(40),
  lastCommit: { id: COMMIT, title: '', date: '2024-01-01T00:00:00.000Z' },
  ...more,
});

/** Answers of the hub, by the piece of the path that asks for them. */
export function hubFiles(): Files {
  const lfs = { lfs: { oid: 'c'.repeat(64), size: 8, pointerSize: 130 } };
  return {
    revision: JSON.stringify({ _id: '1', id: 'org/name', sha: COMMIT, lastModified: 0 }),
    tree: JSON.stringify([
      { type: 'directory', path: 'sub', size: 0 },
      entry('config.json'),
      entry('model.safetensors', lfs),
    ]),
    'config.json': JSON.stringify([entry('config.json')]),
    'model.safetensors': JSON.stringify([entry('model.safetensors', lfs)]),
    headers: JSON.stringify({ etag: '"tag"', 'x-linked-size': '8' }),
  };
}

/** Downloads from a hub that gives these answers. */
export function readFromHub(files: Files, folder: string): Promise<void> {
  return withHub(files, folder, async (cacheDir) => {
    await resolveDirectory('org/name', { cacheDir, hubUrl: 'http://hub.invalid', offline: false });
  });
}

/** Work for which every request is one to a hub that gives these answers, with an empty cache. */
export async function withHub<T>(files: Files, folder: string, work: (cacheDir: string) => Promise<T>): Promise<T> {
  const { fetch } = globalThis;
  const cacheDir = await mkdtemp(join(folder, 'hub-'));
  globalThis.fetch = (input, init) =>
    Promise.resolve(answer(files, input instanceof Request ? input.url : String(input), init));
  try {
    return await work(cacheDir);
  } finally {
    globalThis.fetch = fetch;
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function answer(files: Files, url: string, init: RequestInit | undefined): Response {
  const json = (name: string): Response =>
    new Response(body(files[name]), { headers: { 'content-type': 'application/json' } });
  if (url.includes('/revision/')) return json('revision');
  if (url.includes('/tree/')) return json('tree');
  if (url.includes('/paths-info/'))
    return json(
      (typeof init?.body === 'string' ? init.body : '').includes('config.json') ? 'config.json' : 'model.safetensors',
    );
  const content = CONTENT[new URL(url).pathname.split('/').at(-1) ?? ''];
  if (content === undefined) return new Response('{"error": "not found"}', { status: 404 });
  return new Response(content, {
    status: 206,
    headers: { ...headers(files), 'content-range': `bytes 0-${content.length - 1}/${content.length}` },
  });
}

function body(content: Uint8Array | string | undefined): string {
  return typeof content === 'string' ? content : new TextDecoder().decode(content);
}

function headers(files: Files): Record<string, string> {
  try {
    return Object.fromEntries(new Headers(JSON.parse(body(files['headers'])) as Record<string, string>));
  } catch {
    return {};
  }
}
