import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { runConfigSchema } from '../../src/config/schema.js';
import { finetune } from '../../src/finetune/finetune.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { nodeHost } from '../../src/node.js';
import { readRecord, type TrainingRecord } from '../../src/record/record.js';
import { VERSION } from '../../src/version.js';
import { countingRows, tinyModelFiles } from '../support/tiny-model.js';

/** Record and front matter of the card of a short run whose config names these data. */
async function describedRun(
  train: unknown,
): Promise<{ record: TrainingRecord | undefined; front: Record<string, unknown> }> {
  const config = runConfigSchema.parse({
    model: 'm',
    device: 'cpu',
    data: { train },
    training: { output_dir: 'o', max_steps: 1 },
  });
  const rows = [{ name: 'rows', rows: countingRows(4, 1) }];
  const { files } = await finetune({
    config,
    model: memoryDirectory('m', tinyModelFiles()),
    data: { train: rows },
    host: nodeHost,
  });
  const [, front = ''] = String(files['README.md']).split('---\n');
  return { record: await readRecord(memoryDirectory('o', files)), front: parse(front) as Record<string, unknown> };
}

it('a run is described with the versions of what computed it and with its data sets of the Hub', async () => {
  const { record, front } = await describedRun(['org/name@main', { path: 'hub:plain' }, 'org/name', './rows.jsonl']);
  expect(record?.versions).toEqual({
    lowrank: VERSION,
    '@tensorflow/tfjs': tf.version_core,
    node: process.versions.node,
  });
  expect(front['datasets']).toEqual(['org/name', 'plain']);
  expect((await describedRun('./rows.jsonl')).front).not.toHaveProperty('datasets');
});
