import { execFile } from 'node:child_process';
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** MiB that a child process may have on the heap of JavaScript. */
const HEAP = 48;
const ROWS = 50_000;
const LENGTH = 400;

/** What the child runs: opens the file, draws two epochs' beginnings, and goes on from a saved place. */
const CHILD = `
  import { openDataset } from './src/data/dataset.ts';
  import { takeExamples } from './src/data/examples.ts';
  import { BatchSampler } from './src/data/sampler.ts';
  import { collate } from './src/data/collate.ts';
  import { fileSource } from './src/io/node.ts';
  const [path, streaming] = process.argv.slice(2);
  const source = await fileSource(path);
  const { examples, stats, parts } = await openDataset({ source, options: { streaming: streaming === 'true', max_length: 300 }, vocabSize: 40_000 });
  const make = () => new BatchSampler({ count: examples.length, batchSize: 8, seed: 3 });
  const draw = async (sampler, batches) => {
    const drawn = [];
    for (let i = 0; i < batches; i++) {
      const { rows, inputIds, supervisedCount } = collate(await takeExamples(examples, sampler.next()));
      drawn.push([rows, inputIds.reduce((sum, id) => (31 * sum + id) | 0, 7), supervisedCount]);
    }
    return drawn;
  };
  const sampler = make();
  const first = await draw(sampler, 5);
  const state = sampler.state();
  const next = await draw(sampler, 5);
  const resumed = make();
  resumed.restore(state);
  const again = await draw(resumed, 5);
  await source.close();
  console.log(JSON.stringify({ length: examples.length, stats, first, next, again }));
`;

interface Drawn {
  readonly length: number;
  readonly stats: { readonly rows: number; readonly tokens?: number };
  readonly first: [number[], number, number][];
  readonly next: unknown[];
  readonly again: unknown[];
}

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-streaming-'));
  file = join(folder, 'rows.jsonl');
  await build({
    stdin: { contents: CHILD, resolveDir: resolve('.'), loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: join(folder, 'child.mjs'),
    logLevel: 'error',
  });
  const handle = await open(file, 'w');
  for (let row = 0; row < ROWS; row += 1000) {
    const lines = Array.from(
      { length: 1000 },
      (_, i) =>
        `{"input_ids":[${Array.from({ length: LENGTH }, (_, t) => ((row + i) * 7 + t * 31) % 40_000).join()}]}\n`,
    );
    await handle.write(lines.join(''));
  }
  await handle.close();
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function inChild(streaming: boolean): Promise<Drawn> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    `--max-old-space-size=${HEAP}`,
    join(folder, 'child.mjs'),
    file,
    String(streaming),
  ]);
  return JSON.parse(stdout) as Drawn;
}

describe('a file larger than the heap', { timeout: 180_000 }, () => {
  it('is drawn from in place, and as from memory', async () => {
    expect((await stat(file)).size).toBeGreaterThan(2 * HEAP * 2 ** 20);
    const streamed = await inChild(true);
    expect(streamed.length).toBe(ROWS);
    expect(streamed.stats).toEqual({ rows: ROWS });
    expect(streamed.again).toEqual(streamed.next);
    // The numbers of the examples take three bytes a token, beside the heap.
    const loaded = await inChild(false);
    expect(loaded.stats).toMatchObject({ rows: ROWS, tokens: 300 * ROWS, truncated: ROWS });
    expect([loaded.first, loaded.next]).toEqual([streamed.first, streamed.next]);
    const [rows = [], sum] = streamed.first[0] ?? [];
    const expected = rows
      .flatMap((row) => Array.from({ length: 300 }, (_, t) => ((row - 1) * 7 + t * 31) % 40_000))
      .reduce((total, id) => (31 * total + id) | 0, 7);
    expect(sum).toBe(expected);
  });
});
