import { lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, LowrankError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/io/checkpoint.js';
import { resolveDirectory } from '../../src/io/hub.js';
import { localDirectory } from '../../src/io/node.js';
import { encodeSafetensors, float32Tensor } from '../../src/io/safetensors.js';
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
});
