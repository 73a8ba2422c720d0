import { lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, LowrankError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { resolveDirectory } from '../../src/io/hub.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import { openDirectory } from '../../src/io/open-directory.js';
import { encodeSafetensors, float32Tensor } from '../../src/io/safetensors.js';
import { readModelConfig } from '../../src/model/load.js';
import { COMMIT, startHub, type TestHub } from './hub-server.js';

const VARIABLES = [
  'HF_HOME',
  'HF_HUB_CACHE',
  'HUGGINGFACE_HUB_CACHE',
  'HF_TOKEN',
  'HF_HUB_OFFLINE',
  'HF_ENDPOINT',
  'XDG_CACHE_HOME',
];
const shard = (name: string) => encodeSafetensors({ [name]: float32Tensor([1], Float32Array.of(1)) });
const MODEL = {
  'config.json': '{}',
  'tokenizer.json': '{"a": 1}',
  'tokenizer_config.json': '{"b": 1}',
  'README.md': '# nothing to train with',
  'pytorch_model.bin': 'pickle',
  'onnx/model.onnx': 'onnx',
  'model.safetensors.index.json': '{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}',
  'model-1.safetensors': shard('a'),
  'model-2.safetensors': shard('b'),
  'consolidated.safetensors': shard('all'),
};

let folder: string;
let cache: string;
let saved: Record<string, string | undefined>;
let hub: TestHub | undefined;

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'lowrank-hub-')));
  cache = join(folder, 'hub');
  saved = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
  for (const name of VARIABLES) delete process.env[name];
  process.env['HF_HOME'] = folder;
});

afterEach(async () => {
  for (const name of VARIABLES) {
    if (saved[name] === undefined) delete process.env[name];
    else process.env[name] = saved[name];
  }
  await hub?.close();
  hub = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** The layout that all Hugging Face libraries share: blobs, links in snapshots/<commit>, names in refs. */
async function fillCache(
  files: Record<string, string | Uint8Array>,
  { kind = 'models', revision = 'main', root = cache } = {},
): Promise<string> {
  const repo = join(root, `${kind}--org--name`);
  const snapshot = join(repo, 'snapshots', COMMIT);
  await mkdir(join(repo, 'refs'), { recursive: true });
  await mkdir(join(repo, 'blobs'), { recursive: true });
  await writeFile(join(repo, 'refs', revision), COMMIT);
  for (const [path, content] of Object.entries(files)) {
    const blob = join(repo, 'blobs', path.replaceAll('/', '_'));
    const link = join(snapshot, path);
    await writeFile(blob, content);
    await mkdir(dirname(link), { recursive: true });
    await symlink(blob, link);
  }
  return snapshot;
}

describe('offline', () => {
  beforeEach(() => {
    process.env['HF_HUB_OFFLINE'] = '1';
  });

  it('takes a folder that exists before anything else', async () => {
    await mkdir(join(folder, 'org', 'name'), { recursive: true });
    expect(await resolveDirectory(join(folder, 'org/name'))).toBe(resolve(folder, 'org/name'));
  });

  it('finds a model in the cache that HF_HOME, HF_HUB_CACHE or the option names', async () => {
    const snapshot = await fillCache({ 'config.json': '{}', 'model.safetensors': shard('a') });
    expect(await resolveDirectory('org/name')).toBe(snapshot);
    expect(await resolveDirectory('org/name@main')).toBe(snapshot);
    expect(await resolveDirectory(`org/name@${COMMIT}`)).toBe(snapshot);
    process.env['HF_HUB_CACHE'] = join(folder, 'elsewhere');
    const other = await fillCache(
      { 'config.json': '{}', 'model.safetensors': shard('a') },
      { root: join(folder, 'elsewhere') },
    );
    expect(await resolveDirectory('org/name')).toBe(other);
    expect(await resolveDirectory('org/name', { cacheDir: cache })).toBe(snapshot);
    const checkpoint = await openCheckpoint(localDirectory(snapshot));
    expect(checkpoint.names()).toEqual(['a']);
    await checkpoint.close();
  });

  it('finds revisions, datasets and adapters', async () => {
    const snapshot = await fillCache(
      { 'adapter_config.json': '{}', 'adapter_model.safetensors': shard('a') },
      { revision: 'v1.0' },
    );
    expect(await resolveDirectory('org/name@v1.0')).toBe(snapshot);
    await expect(resolveDirectory('org/name@v2.0')).rejects.toThrow(/refs\/v2\.0 is missing/);
    const dataset = await fillCache({ 'data/train.jsonl': '{}' }, { kind: 'datasets' });
    expect(await resolveDirectory('org/name', { kind: 'dataset' })).toBe(dataset);
  });

  it('says what is missing: everything, a shard, the weights', async () => {
    await expect(resolveDirectory('org/name')).rejects.toThrow(ConfigError);
    await expect(resolveDirectory('org/name')).rejects.toThrow(
      /org\/name: no such folder, and not in the cache: .*refs\/main is missing. HF_HUB_OFFLINE/,
    );
    await fillCache({ 'config.json': '{}' });
    await expect(resolveDirectory('org/name')).rejects.toThrow(/model\.safetensors is missing/);
    await fillCache({
      'model.safetensors.index.json': MODEL['model.safetensors.index.json'],
      'model-1.safetensors': shard('a'),
    });
    await expect(resolveDirectory('org/name')).rejects.toThrow(/model-2\.safetensors is missing/);
  });

  it.each(['./none', '/none/at/all', 'a/b/c', 'org/name@../../x', 'org/name@a/../b', '../x', ''])(
    'refuses %j',
    async (id) => {
      await expect(resolveDirectory(id)).rejects.toThrow(/no such folder, and no model id/);
    },
  );
});

describe('from a hub on the loopback', () => {
  const start = async (kind: 'models' | 'datasets', files: Record<string, Uint8Array | string>, token?: string) => {
    hub = await startHub(kind, 'org/name', files, token);
    process.env['HF_ENDPOINT'] = hub.url;
    return hub;
  };

  it('downloads what training needs and nothing else, into the shared layout, silently', async () => {
    const { requests } = await start('models', MODEL, 'hf_secret');
    process.env['HF_TOKEN'] = 'hf_secret';
    const printed: unknown[] = [];
    const { debug } = console;
    console.debug = (...parts: unknown[]) => printed.push(parts);
    const messages: string[] = [];
    const snapshot = await resolveDirectory('org/name', { onMessage: (message) => messages.push(message) });
    console.debug = debug;
    expect(printed).toEqual([]);
    expect(messages).toHaveLength(6);
    expect(snapshot).toBe(join(cache, 'models--org--name', 'snapshots', COMMIT));
    expect((await readdir(snapshot)).sort()).toEqual(
      [
        'config.json',
        'model-1.safetensors',
        'model-2.safetensors',
        'model.safetensors.index.json',
        'tokenizer.json',
        'tokenizer_config.json',
      ].sort(),
    );
    expect((await lstat(join(snapshot, 'config.json'))).isSymbolicLink()).toBe(true);
    expect(await realpath(join(snapshot, 'config.json'))).toContain(join('models--org--name', 'blobs'));
    expect(await readFile(join(cache, 'models--org--name', 'refs', 'main'), 'utf8')).toBe(COMMIT);
    expect(requests.every(({ token }) => token === 'hf_secret')).toBe(true);

    const checkpoint = await openCheckpoint(localDirectory(snapshot));
    expect(checkpoint.names()).toEqual(['a', 'b']);
    await checkpoint.close();
    expect(await resolveDirectory('org/name', { offline: true })).toBe(snapshot);

    const before = requests.length;
    expect(await resolveDirectory(`org/name@${COMMIT}`)).toBe(snapshot);
    expect(requests.length).toBe(before);
    await resolveDirectory('org/name@v1');
    expect(requests.slice(before).some(({ path }) => path.includes('/resolve/'))).toBe(false);
  });

  it('downloads a dataset with its folders', async () => {
    await start('datasets', { 'data/train.jsonl': '{"a": 1}\n', 'README.md': '', 'logo.png': '' });
    const snapshot = await resolveDirectory('org/name', { kind: 'dataset' });
    expect(await localDirectory(snapshot).list()).toEqual(['data/train.jsonl']);
  });

  it('takes the cached copy when the hub cannot be reached, and says so', async () => {
    const { url } = await start('models', MODEL);
    const snapshot = await resolveDirectory('org/name');
    await hub?.close();
    hub = undefined;
    const messages: string[] = [];
    expect(await resolveDirectory('org/name', { hubUrl: url, onMessage: (message) => messages.push(message) })).toBe(
      snapshot,
    );
    expect(messages.join()).toMatch(/cannot be reached/);
    await expect(resolveDirectory('org/other', { hubUrl: url })).rejects.toThrow(
      /org\/other: no such folder, and the hub cannot be reached: .*ECONNREFUSED/,
    );
  });

  it('tells an unknown repository, a refused one and a wrong token apart', async () => {
    const { url } = await start('models', MODEL);
    await expect(resolveDirectory('org/other')).rejects.toThrow(/no such repository or revision/);
    process.env['HF_TOKEN'] = 'not-a-token';
    await expect(resolveDirectory('org/name')).rejects.toThrow(/HF_TOKEN: .*hf_/);
    delete process.env['HF_TOKEN'];
    const guarded = await startHub('models', 'org/name', MODEL, 'hf_secret');
    await expect(resolveDirectory('org/name', { hubUrl: guarded.url })).rejects.toThrow(
      /refuses access \(status 401\)/,
    );
    await guarded.close();
    expect(url).not.toBe(guarded.url);
  });

  it('keeps no file that is shorter than listed, and is whole on the next run', async () => {
    const { claimedSizes } = await start('models', MODEL);
    claimedSizes.set('model-2.safetensors', 10_000);
    await expect(resolveDirectory('org/name')).rejects.toThrow(LowrankError);
    await expect(resolveDirectory('org/name')).rejects.toThrow(
      /model-2\.safetensors: downloaded \d+ bytes of 10000; run again/,
    );
    await expect(resolveDirectory('org/name', { offline: true })).rejects.toThrow(/refs\/main is missing/);
    claimedSizes.clear();
    const checkpoint = await openCheckpoint(localDirectory(await resolveDirectory('org/name')));
    expect(checkpoint.names()).toEqual(['a', 'b']);
    await checkpoint.close();
  });

  it('refuses shards outside the folder and models without safetensors', async () => {
    await start('models', {
      ...MODEL,
      'model.safetensors.index.json': '{"weight_map":{"a":"../../../x.safetensors"}}',
    });
    await expect(resolveDirectory('org/name')).rejects.toThrow(
      /weight_map\.a: found "\.\.\/\.\.\/\.\.\/x\.safetensors"/,
    );
    await hub?.close();
    await start('models', { 'config.json': '{}', 'pytorch_model.bin': '' });
    await expect(resolveDirectory('org/name')).rejects.toThrow(/has no safetensors weights/);
  });

  it.each([
    ['a path that leads out', { path: '../../evil' }, /evil/],
    ['an absolute path', { path: '/etc/passwd' }, /etc/],
    ['no path', { path: 7 }, /gave 7 as the name of a file/],
    ['a size that is none', { size: -1 }, /gave -1 as the size of config\.json/],
    ['a size that is a text', { size: '12' }, /gave "12" as the size/],
    ['a hash that is a path', { oid: '../../../evil' }, /gave "\.\.\/\.\.\/\.\.\/evil" as the hash of config\.json/],
    [
      'an LFS hash that is a path',
      { lfs: { oid: '../../evil', size: 1, pointerSize: 1 } },
      /gave "\.\.\/\.\.\/evil" as the hash/,
    ],
    ['a xet hash that is a path', { xetHash: '../evil' }, /gave "\.\.\/evil" as the hash/],
  ])('refuses an entry with %s, and writes nothing', async (_what, claim, message) => {
    const { claims } = await start('models', MODEL);
    claims.set('config.json', claim);
    const error = await resolveDirectory('org/name').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LowrankError);
    expect((error as Error).message).toMatch(message);
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    [
      'a commit that is a path',
      '/revision/',
      { body: { _id: '1', id: 'org/name', sha: '../../evil', lastModified: 0 } },
      /gave "\.\.\/\.\.\/evil" as commit/,
    ],
    ['null for the model', '/revision/', { body: 'null' }, /org\/name: the download broke/],
    ['no JSON', '/revision/', { body: '<html>' }, /org\/name: the download broke/],
    ['no list of files', '/tree/', { body: { files: [] } }, /the hub gave no list of files/],
    ['null as a file', '/tree/', { body: [null] }, /the hub gave null as a file/],
    ['no list of paths', '/paths-info/', { body: 'null' }, /the hub gave no list of files/],
    ['an empty list of paths', '/paths-info/', { body: [] }, /org\/name: the download broke: cannot get path info/],
    [
      'a redirect to a file',
      '/resolve/',
      { status: 302, headers: { location: 'file:///etc/passwd' } },
      /org\/name: .*(?:cannot be reached|download broke)/,
    ],
    [
      'a redirect without end',
      '/resolve/',
      { status: 302, headers: { location: '/resolve/again' } },
      /org\/name: .*(?:cannot be reached|download broke)/,
    ],
    ['a failure', '/resolve/', { status: 500, body: { error: 'x' } }, /answered with status 500/],
  ])('ends in an own error at %s', async (_what, piece, answer, message) => {
    const { answers } = await start('models', MODEL);
    answers.set(piece, answer);
    const error = await resolveDirectory('org/name').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LowrankError);
    expect((error as Error).message).toMatch(message);
  });

  it('takes no path from an ETag or a redirect', async () => {
    const { answers } = await start('models', { 'config.json': '{}', 'model.safetensors': shard('a') });
    answers.set('/resolve/', {
      body: '{}',
      headers: {
        etag: '"../../../evil"',
        'x-linked-etag': '"../../evil"',
        'content-disposition': 'attachment; filename="../../evil"',
      },
    });
    await resolveDirectory('org/name').catch(() => undefined);
    expect(await readdir(folder)).toEqual(['hub']);
    expect((await localDirectory(folder).list()).join()).not.toContain('evil');
  });
});

it('refuses a list of files that goes on for ever', async () => {
  hub = await startHub('models', 'org/name', MODEL);
  hub.answers.set('/tree/', {
    body: [],
    headers: { link: `<${hub.url}/api/models/org/name/tree/${COMMIT}?cursor=a>; rel="next"` },
  });
  await expect(resolveDirectory('org/name', { hubUrl: hub.url })).rejects.toThrow(
    /list of files has more than 1000 pages/,
  );
});

it('refuses a link of the cache that leads out of it, but not a cache that is a link itself', async () => {
  const files = { 'config.json': '{}', 'model.safetensors': shard('a') };
  await fillCache(files, { root: join(folder, 'disk') });
  await symlink(join(folder, 'disk'), cache);
  const snapshot = await resolveDirectory('org/name', { offline: true });
  expect(snapshot).toBe(join(cache, 'models--org--name', 'snapshots', COMMIT));
  await writeFile(join(folder, 'secret.json'), '{}');
  await symlink(join(folder, 'secret.json'), join(snapshot, 'tokenizer.json'));
  await expect(resolveDirectory('org/name', { offline: true })).rejects.toThrow(
    /tokenizer\.json: a link out of the cache, to .*secret\.json/,
  );
});

describe('a path', () => {
  it.each([
    ['model.gguf', /a GGUF file is for llama\.cpp/],
    ['pytorch_model.bin', /a PyTorch pickle/],
    ['model.safetensors', /a file, where a folder is meant: give the folder that holds it/],
  ])('to the file %s says what is meant', async (name, message) => {
    await writeFile(join(folder, name), '');
    await expect(openDirectory(join(folder, name))).rejects.toThrow(message);
    await expect(openDirectory(join(folder, name))).rejects.toThrow(ConfigError);
  });

  it('to an adapter says that its model is meant', async () => {
    const directory = memoryDirectory('a', { 'adapter_config.json': '{"base_model_name_or_path": "org/base"}' });
    await expect(readModelConfig(directory)).rejects.toThrow(
      'a: an adapter, not a model: give the model that it was trained over, "org/base" by its adapter_config.json, and this folder as the adapter',
    );
  });
});
