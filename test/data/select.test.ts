import { describe, expect, it } from 'vitest';

import { selectDataFiles } from '../../src/data/select.js';
import { ConfigError } from '../../src/errors.js';

const select = (paths: string[], selection: Parameters<typeof selectDataFiles>[1] = {}): string[] =>
  selectDataFiles(paths, selection, 'org/name');

describe('selectDataFiles', () => {
  const shards = [
    'README.md',
    'data/train-00000-of-00002.parquet',
    'data/train-00001-of-00002.parquet',
    'data/validation-00000-of-00001.parquet',
    'dataset_infos.json',
  ];

  it('finds a split by a word in the path', () => {
    expect(select(shards)).toEqual(shards.slice(1, 3));
    expect(select(shards, { split: 'validation' })).toEqual([shards[3]]);
    expect(select(['dev.csv', 'constraint.csv', 'training/a.csv'], {})).toEqual(['training/a.csv']);
    expect(select(['dev.csv', 'train.csv'], { defaultSplit: 'validation' })).toEqual(['dev.csv']);
    expect(select(['easy.jsonl', 'hard.jsonl'], { split: 'hard' })).toEqual(['hard.jsonl']);
  });

  it('takes all where no split is named, and text only where there is nothing else', () => {
    expect(select(['a.csv', 'b.csv', 'LICENSE.txt'])).toEqual(['a.csv', 'b.csv']);
    expect(select(['a.txt', 'b.txt', 'c.md'])).toEqual(['a.txt', 'b.txt']);
    expect(() => select(['a.csv'], { defaultSplit: 'test' })).toThrow(
      'org/name: no data file of the split test; it has a.csv',
    );
  });

  it('goes by patterns alone where they are given', () => {
    const files = ['en/train.csv', 'de/train.csv', 'de/sub/test.csv', 'a+b.csv'];
    expect(select(files, { files: 'de/*.csv' })).toEqual(['de/train.csv']);
    expect(select(files, { files: ['**/t*.csv', 'de/**'] })).toEqual([
      'en/train.csv',
      'de/train.csv',
      'de/sub/test.csv',
    ]);
    expect(select([...files, 'x.jsonl.gz', 'y.csv.zst'], { files: '{de/sub,en}/*.{csv,jsonl.gz}' })).toEqual([
      'en/train.csv',
      'de/sub/test.csv',
    ]);
    expect(select([...files, 'x.jsonl.gz', 'y.csv.zst'], { files: ['*.gz', '*.zst'] })).toEqual([
      'x.jsonl.gz',
      'y.csv.zst',
    ]);
    expect(select(files, { files: 'a+?.csv' })).toEqual(['a+b.csv']);
    expect(() => select(files, { files: ['en/*', 'fr/*'] })).toThrow(
      'no data file matches "fr/*"; it has en/train.csv',
    );
  });

  it('refuses what is not clear', () => {
    expect(() => select(['README.md'])).toThrow(ConfigError);
    expect(() => select(['README.md'])).toThrow('no data file of the split train; it has none');
    expect(select(['train-0.jsonl.gz', 'train-1.jsonl'])).toHaveLength(2);
    expect(() => select(['train.csv', 'train.jsonl'])).toThrow(
      'files of several formats (csv, jsonl): name some by data_files',
    );
  });
});
