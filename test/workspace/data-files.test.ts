import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readConfig } from '../../src/cli/config-file.js';
import { openDataFiles } from '../../src/workspace/data-files.js';
import { loadDataset } from '../../src/data/dataset.js';
import { takeExamples } from '../../src/data/examples.js';
import { ConfigError } from '../../src/errors.js';
import { startHub, type TestHub } from '../io/hub-server.js';

const row = (id: number): string => `${JSON.stringify({ input_ids: [id, id] })}\n`;
const FILES = {
  'README.md': '# a data set',
  'data/train-00000-of-00002.jsonl': row(1) + row(2),
  'data/train-00001-of-00002.jsonl': row(3),
  'data/test-00000-of-00001.jsonl': row(4),
  'extra/more.jsonl': row(5),
};

let folder: string;
let hub: TestHub | undefined;

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'lowrank-data-')));
  for (const name of ['HF_HUB_CACHE', 'HF_TOKEN', 'HF_HUB_OFFLINE']) vi.stubEnv(name, undefined);
  vi.stubEnv('HF_HOME', folder);
  hub = await startHub('datasets', 'org/name', FILES);
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await hub?.close();
  await rm(folder, { recursive: true, force: true });
});

async function firstIds(...values: Parameters<typeof openDataFiles>): Promise<Record<string, number[]>> {
  const files = await openDataFiles(...values);
  const found: Record<string, number[]> = {};
  for (const [option, source] of Object.entries(files.sources)) {
    const { examples } = await loadDataset({ source });
    found[option] = (
      await takeExamples(
        examples,
        Array.from({ length: examples.length }, (_, i) => i),
      )
    ).map((example) => example.inputIds[0] ?? -1);
  }
  await files.close();
  return found;
}

const downloads = (): string[] =>
  hub?.requests
    .filter(({ path }) => path.includes('/resolve/'))
    .map(({ path }) => path.slice(path.indexOf(':') + 1).replace(/^.*\/resolve\/[0-9a-f]+\//, '')) ?? [];

describe('data sets of the Hub', () => {
  it('come by split, and only what is asked for is downloaded', async () => {
    expect(await firstIds({ 'data.train': 'org/name' })).toEqual({ 'data.train': [1, 2, 3] });
    expect([...new Set(downloads())]).toEqual(['data/train-00000-of-00002.jsonl', 'data/train-00001-of-00002.jsonl']);
    expect(await firstIds({ 'data.train': 'hub:org/name@main', 'data.test': { path: 'org/name' } })).toEqual({
      'data.train': [1, 2, 3],
      'data.test': [4],
    });
    expect([...new Set(downloads())]).toHaveLength(3);
    expect(
      await firstIds({
        'data.train': [
          { path: 'org/name', split: 'test' },
          { path: 'org/name', data_files: ['extra/*'] },
        ],
      }),
    ).toEqual({ 'data.train': [4, 5] });
    const files = await openDataFiles({ 'data.train': { path: 'org/name', weight: 2, train_on: 'all' } });
    expect(files.sources['data.train']).toMatchObject([
      {
        name: 'org/name',
        weight: 2,
        options: { train_on: 'all' },
        sources: [{ name: 'org/name/data/train-00000-of-00002.jsonl' }, {}],
      },
    ]);
    await files.close();
  });

  it('come from the cache offline, where they are whole', async () => {
    await firstIds({ 'data.train': { path: 'org/name', data_files: '**/train-00000*' } });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await firstIds({ 'data.train': { path: 'org/name', data_files: '**/train-00000*' } })).toEqual({
      'data.train': [1, 2],
    });
    await expect(openDataFiles({ 'data.train': 'org/name' })).rejects.toThrow(/train-00001-of-00002\.jsonl is missing/);
    await expect(openDataFiles({ 'data.test': 'org/name' })).rejects.toThrow(/what is asked for is missing/);
    vi.stubEnv('HF_HUB_OFFLINE', undefined);
    await firstIds({ 'data.train': 'org/name' });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await firstIds({ 'data.train': 'org/name' })).toEqual({ 'data.train': [1, 2, 3] });
  });

  it('tell what they have where nothing matches', async () => {
    const wrong = openDataFiles({ 'data.validation': 'org/name' });
    await expect(wrong).rejects.toThrow(ConfigError);
    await expect(wrong).rejects.toThrow('no data file of the split validation; it has data/train-00000-of-00002.jsonl');
    await expect(openDataFiles({ 'data.train': 'org/none' })).rejects.toThrow('no such repository');
  });
});

describe('folders and files', () => {
  it('are opened alike, and what is missing is told together', async () => {
    await mkdir(join(folder, 'set'), { recursive: true });
    await writeFile(join(folder, 'set', 'train.jsonl'), row(7));
    await writeFile(join(folder, 'set', 'dev.jsonl'), row(8));
    await writeFile(join(folder, 'one.jsonl'), row(9));
    const set = join(folder, 'set');
    expect(
      await firstIds({
        'data.train': [set, join(folder, 'one.jsonl')],
        'data.validation': set,
        'data.test': undefined,
        '--data': [join(folder, 'one.jsonl')],
      }).catch(String),
    ).toContain('no files are given');
    expect(await firstIds({ 'data.train': [set, join(folder, 'one.jsonl')], 'data.validation': set })).toEqual({
      'data.train': [7, 9],
      'data.validation': [8],
    });
    const wrong = openDataFiles({
      'data.train': join(folder, 'none.jsonl'),
      'data.test': { path: join(folder, 'gone.csv') },
    });
    await expect(wrong).rejects.toThrow(
      /data\.train: .*none\.jsonl: no such file\ndata\.test: .*gone\.csv: no such file/,
    );
    await expect(openDataFiles({ 'data.train': { path: join(folder, 'one.jsonl'), split: 'test' } })).rejects.toThrow(
      'is a file',
    );
  });

  it('are found by patterns, in the order of their names', async () => {
    for (const [name, id] of [
      ['b/2.jsonl', 2],
      ['b/1.jsonl', 1],
      ['b/c/3.jsonl', 3],
      ['a[x]/4.jsonl', 4],
      ['b/5.json', 5],
      ['b/.6.jsonl', 6],
    ] as const) {
      await mkdir(dirname(join(folder, 'set', name)), { recursive: true });
      await writeFile(join(folder, 'set', name), row(id));
    }
    const ids = async (pattern: string): Promise<number[] | undefined> =>
      (await firstIds({ 'data.train': join(folder, 'set', pattern) }))['data.train'];
    expect(await ids('b/*.jsonl')).toEqual([1, 2]);
    expect(await ids('**/*.jsonl')).toEqual([4, 1, 2, 3]);
    expect(await ids('{b,a}/?.{json,jsonl}')).toEqual([1, 2, 5]);
    expect(await ids('a[x]/*.jsonl')).toEqual([4]);
    expect(await ids('a[x]/4.jsonl')).toEqual([4]);
    await expect(ids('b/*.csv')).rejects.toThrow(
      `data.train: ${join(folder, 'set')}/b/*.csv: no file matches this pattern`,
    );
    await expect(
      openDataFiles({ 'data.train': { path: join(folder, 'set', 'b/*.jsonl'), split: 'test' } }),
    ).rejects.toThrow('names files: split and data_files choose');
    vi.spyOn(process, 'cwd').mockReturnValue(folder);
    const config = join(folder, 'run.yaml');
    await writeFile(config, 'model: a/b\ndata: {train: [set/b/*.jsonl, "set/{b,c}/**"]}\ntraining: {output_dir: o}\n');
    expect((await readConfig(config)).data.train).toEqual([
      join(folder, 'set/b/*.jsonl'),
      join(folder, 'set/{b,c}/**'),
    ]);
  });

  it('of chat templates are read into the config', async () => {
    await writeFile(join(folder, 'chat.jinja'), '{{ messages }}');
    const config = join(folder, 'run.yaml');
    await writeFile(
      config,
      'model: a/b\ndata:\n  train: [{path: a.csv, chat_template: ./chat.jinja}, b.csv]\n  chat_template: "{{ own }}"\ntraining: {output_dir: o}\n',
    );
    const { data } = await readConfig(config);
    expect(data.train).toEqual([
      { path: join(folder, 'a.csv'), chat_template: '{{ messages }}' },
      join(folder, 'b.csv'),
    ]);
    expect(data.chat_template).toBe('{{ own }}');
    expect(Object.keys(data)[0]).toBe('train');
    await expect(readConfig(config, ['data.chat_template=./none.jinja'])).rejects.toThrow('chat_template: cannot read');
  });
});
