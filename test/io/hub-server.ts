import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** A hub on the loopback: the endpoints that downloading needs, for one repository. */
export interface TestHub {
  readonly url: string;
  /** Method, path and token of each request. */
  readonly requests: { method: string; path: string; token: string | undefined }[];
  /** Size that the listing gives for a file, to lie about it. */
  readonly claimedSizes: Map<string, number>;
  /** What stands in the place of an answer, by a piece of its path. */
  readonly answers: Map<
    string,
    { readonly body?: unknown; readonly status?: number; readonly headers?: Readonly<Record<string, string>> }
  >;
  /** Fields of a file's entry, to lie about them. */
  readonly claims: Map<string, Record<string, unknown>>;
  close(): Promise<void>;
}

export async function startHub(
  kind: 'models' | 'datasets',
  repo: string,
  files: Record<string, Uint8Array | string>,
  token?: string,
): Promise<TestHub> {
  const requests: TestHub['requests'] = [];
  const claimedSizes = new Map<string, number>();
  const answers: TestHub['answers'] = new Map();
  const claims: TestHub['claims'] = new Map();
  const content = new Map(Object.entries(files).map(([path, body]) => [path, Buffer.from(body)]));
  const entry = (path: string, body: Buffer) => ({
    type: 'file',
    path,
    size: claimedSizes.get(path) ?? body.length,
    oid: createHash('sha1').update(body).digest('hex'),
    lastCommit: { id: COMMIT, title: '', date: '2024-01-01T00:00:00.000Z' },
    ...claims.get(path),
  });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = decodeURIComponent((request.url ?? '').split('?')[0] as string);
    const given = request.headers.authorization?.replace('Bearer ', '');
    requests.push({ method: request.method ?? '', path, token: given });
    const json = (value: unknown, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (token !== undefined && given !== token) return void json({ error: 'no access' }, 401);
    const changed = [...answers].find(([piece]) => path.includes(piece))?.[1];
    if (changed !== undefined) {
      const { body = '', status = 200, headers = {} } = changed;
      return void response
        .writeHead(status, { 'content-type': 'application/json', ...headers })
        .end(typeof body === 'string' ? body : JSON.stringify(body));
    }
    const api = `/api/${kind}/${repo}`;
    if ([`${api}/revision/main`, `${api}/revision/v1`, `${api}/revision/${COMMIT}`].includes(path))
      return void json({ _id: '1', id: repo, sha: COMMIT, lastModified: 0 });
    if (path === `${api}/tree/${COMMIT}`)
      return void json([
        { type: 'directory', path: 'sub', size: 0 },
        ...[...content].map(([file, body]) => entry(file, body)),
      ]);
    if (path === `${api}/paths-info/${COMMIT}`) {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { paths } = JSON.parse(Buffer.concat(chunks).toString()) as { paths: string[] };
      return void json(paths.flatMap((file) => (content.has(file) ? [entry(file, content.get(file) as Buffer)] : [])));
    }
    const prefix = `${kind === 'datasets' ? '/datasets' : ''}/${repo}/resolve/${COMMIT}/`;
    const body = path.startsWith(prefix) ? content.get(path.slice(prefix.length)) : undefined;
    if (body === undefined) return void json({ error: 'not found' }, 404);
    const etag = { ETag: '"tag"' };
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
    if (range === null) return void response.writeHead(200, etag).end(body);
    const [from, to] = [Number(range[1]), Math.min(Number(range[2]), body.length - 1)];
    response
      .writeHead(206, { ...etag, 'content-range': `bytes ${from}-${to}/${body.length}` })
      .end(body.subarray(from, to + 1));
  };
  const server: Server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    claimedSizes,
    answers,
    claims,
    close: () =>
      new Promise((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}
