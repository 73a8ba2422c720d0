import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { killChildren } from '../support/child-processes.js';
import { bundleLowrank, lowrank, outcomeOf, type Outcome } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

const BASE = `
base:
  model: ./model
  device: wasm
  adapter: { lora_dropout: 0.1 }
  data: { train: train.jsonl, validation: validation.jsonl }
  training: { output_dir: out, max_steps: 6, per_device_train_batch_size: 4, learning_rate: 0.01, logging_steps: 2, eval_steps: 3, save_strategy: steps, save_steps: 2 }
`;
const GRID = `${BASE}
grid: { r: [1, 4], quantization: [none, nf4] }
seeds: [1, 2]
retain: retain.jsonl
output_dir: out
`;

let folder: string;
/** An ablation that nothing disturbed. */
let undisturbed: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-ablate-'));
  await writeTinyModel(join(folder, 'model'));
  for (const [name, count, seed] of [
    ['train', 24, 1],
    ['validation', 6, 2],
    ['retain', 6, 3],
  ] as const)
    await writeFile(join(folder, `${name}.jsonl`), toJsonl(countingRows(count, seed)));
  undisturbed = join(folder, 'undisturbed');
  const { status, stderr } = await ablate(GRID, undisturbed);
  expect(status, stderr).toBe(0);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function file(text: string): Promise<string> {
  const path = join(folder, 'ablation.yaml');
  await writeFile(path, text);
  return path;
}

async function ablate(text: string, out: string, ...flags: readonly string[]): Promise<Outcome> {
  return lowrank('ablate', await file(text), '--output', out, '--no-estimate', ...flags);
}

type Json = Record<string, unknown>;

/** Everything that an ablation wrote but times; the folder's own name is left out. */
async function written(out: string): Promise<Json> {
  const text = async (name: string): Promise<string> =>
    (await readFile(join(out, name), 'utf8')).replaceAll(out, 'OUT');
  const { timings: _timings, ...json } = JSON.parse(await text('ablation.json')) as Json;
  // Its last column is the rate of tokens.
  const table = (await text('table.md')).split('\n').map((line) => line.replace(/\| [^|]+ \|$/, '|'));
  const csv = (await text('table.csv')).split('\n').map((line) => line.slice(0, line.lastIndexOf(',')));
  return { json, table, csv, subspace: JSON.parse(await text('subspace.json')) as unknown };
}

const runsOf = ({ json }: Json): Json[] => (json as { runs: Json[] }).runs;

describe('ablate', () => {
  it('writes a table over the seeds with a recommendation, and everything for programs', async () => {
    const { json, table, csv } = (await written(undisturbed)) as { json: Json; table: string[]; csv: string[] };
    expect(table[0]).toBe(
      '| rank | settings | seeds | validation loss | retain_loss ↓ | trainable | adapter bytes | planned peak (MiB) | forgetting |',
    );
    expect(table).toHaveLength(4 + 2 + 2 + 1 + 4 + 2);
    expect(table.join('\n')).toMatch(/^Of all settings, the lowest mean validation loss, \d\.\d{4}, has /m);
    expect(table[2]).toMatch(/^\| base float \| – \| – \| – \| \d\.\d{4} \| – \|/);
    expect(table[3]).toMatch(/^\| base nf4 \|/);
    expect(table[4]).toMatch(
      /^\| 1 \| quantization=none \| 2 \| \d\.\d{4} ± \d\.\d{4} \| \d\.\d{4} ± \d\.\d{4} \| \d+ \| [\d ]+ \| \d\.\d \| -?\d\.\d{4} ± \d\.\d{4} \|$/,
    );
    expect(table.join('\n')).toMatch(/With quantization=nf4: Rank \d: .*mean validation loss/);
    expect(csv[0]).toBe(
      'rank,settings,seeds,validation_loss,validation_loss sd,retain_loss,retain_loss sd,trainable_parameters,adapter_bytes,planned_peak_bytes,forgetting retain_loss,forgetting retain_loss sd',
    );
    expect(json).toMatchObject({
      format: 1,
      failed: [],
      pending: [],
      summary: { recommendations: [{ settings: { quantization: 'none' } }, { settings: { quantization: 'nf4' } }] },
    });
    const runs = runsOf({ json });
    expect(runs.map(({ id }) => id)).toEqual(
      [1, 4].flatMap((r) =>
        ['none', 'nf4'].flatMap((q) => [1, 2].map((seed) => `r-${r}_quantization-${q}_seed-${seed}`)),
      ),
    );
    expect(runs[0]).toMatchObject({
      steps: 6,
      total_steps: 6,
      train_rows: 24,
      backend: 'wasm',
      seed: 1,
      settings: { r: 1, quantization: 'none' },
      losses: [{ step: 2 }, { step: 4 }, { step: 6 }],
      validation: [{ step: 3 }, { step: 6 }],
    });
    const { baselines } = json as { baselines: Record<string, { retain_loss: number }> };
    const base = Object.entries(baselines).find(([key]) => key.startsWith('float'))?.[1].retain_loss as number;
    const { metrics, forgetting } = runs[0] as {
      metrics: { retain_loss: number };
      forgetting: { retain_loss: number };
    };
    expect(forgetting.retain_loss).toBeCloseTo(metrics.retain_loss - base, 12);
    // Nothing goes on from a finished run.
    expect((await readdir(join(undisturbed, 'runs/r-1_quantization-none_seed-1'))).sort()).toEqual([
      ...[
        'README.md',
        'adapter_config.json',
        'adapter_model.safetensors',
        'config.yaml',
        'metrics.jsonl',
        'result.json',
        'timings.json',
        'training_record.json',
      ],
    ]);
  });

  it('compares the spaces of the ranks, and of the seeds of one rank', async () => {
    const { subspace } = (await written(undisturbed)) as {
      subspace: {
        pairs: { ranks: number[]; seeds: number[]; mean: number[][]; modules: Record<string, number[][]> }[];
        spectra: Record<string, Record<string, number[]>>;
      };
    };
    // Of each quantisation: two ranks with each seed, two seeds with each rank.
    expect(subspace.pairs.map(({ ranks, seeds }) => `${ranks.join()}/${seeds.join()}`).sort()).toEqual(
      ['1,1/1,2', '1,4/1,1', '1,4/2,2', '4,4/1,2'].flatMap((pair) => [pair, pair]),
    );
    for (const { ranks, mean, modules } of subspace.pairs) {
      expect([mean.length, mean[0]?.length]).toEqual(ranks);
      expect(Object.keys(modules)).toHaveLength(14);
      for (const value of mean.flat()) expect(value >= 0 && value <= 1).toBe(true);
    }
    const spectrum = subspace.spectra['r-4_quantization-none_seed-1']?.['model.layers.0.self_attn.q_proj'] as number[];
    expect(spectrum).toHaveLength(4);
    expect(spectrum[0]).toBeGreaterThan(0);
    expect(spectrum).toEqual([...spectrum].sort((a, b) => b - a));
  });

  it('makes what a run by itself makes, to the byte', async () => {
    const run = join(undisturbed, 'runs/r-4_quantization-nf4_seed-2');
    const alone = join(folder, 'alone');
    const { status, stderr } = await lowrank(
      'train',
      join(run, 'config.yaml'),
      '--set',
      `training.output_dir=${alone}`,
    );
    expect(status, stderr).toBe(0);
    expect(await readFile(join(alone, 'adapter_model.safetensors'), 'hex')).toBe(
      await readFile(join(run, 'adapter_model.safetensors'), 'hex'),
    );
  });

  it('does not depend on the order of its runs, or on how many there are', async () => {
    const out = join(folder, 'order');
    const list = [4, 1].flatMap((r) => ['nf4', 'none'].map((q) => `{ r: ${r}, quantization: ${q} }`));
    expect(
      (await ablate(`${BASE}\nruns: [${list.join(', ')}]\nseeds: [2, 1]\nretain: retain.jsonl\noutput_dir: out`, out))
        .status,
    ).toBe(0);
    const byId = (runs: Json[]): Json[] => [...runs].sort((a, b) => (String(a['id']) < String(b['id']) ? -1 : 1));
    expect(byId(runsOf(await written(out)))).toEqual(byId(runsOf(await written(undisturbed))));
  });

  it('makes no run twice, takes more runs, and refuses those of something else', async () => {
    const out = join(folder, 'more');
    const text = (ranks: string): string => `${BASE}\ngrid: { r: [${ranks}] }\noutput_dir: out`;
    expect((await ablate(text('1'), out)).status).toBe(0);
    const first = await readFile(join(out, 'runs/r-1_seed-42/timings.json'), 'utf8');
    const { status, stdout } = await ablate(text('1, 2'), out, '--json');
    expect(status).toBe(0);
    expect((JSON.parse(stdout) as { rows: { rank: number }[] }).rows.map(({ rank }) => rank)).toEqual([1, 2]);
    expect(await readFile(join(out, 'runs/r-1_seed-42/timings.json'), 'utf8')).toBe(first);
    const changed = await ablate(text('1, 2'), out, '--set', 'training.learning_rate=0.02');
    expect(changed.status).toBe(2);
    expect(changed.stderr).toContain('run r-1_seed-42: training.learning_rate was 0.01 and is 0.02\n');
    // What would do for going on with a run does not do for one that is finished.
    const constant = join(folder, 'constant');
    const flags = ['--set', 'training.lr_scheduler_type=constant'];
    const withTest = text('1').replace('data: {', `data: { test: ${join(folder, 'test.jsonl')},`);
    await writeFile(join(folder, 'test.jsonl'), toJsonl(countingRows(4, 4)));
    expect((await ablate(withTest, constant, ...flags)).status).toBe(0);
    const longer = await ablate(withTest, constant, ...flags, '--set', 'training.max_steps=8');
    expect([longer.status, longer.stderr.includes('training.max_steps was 6 and is 8')]).toEqual([2, true]);
    expect(
      (
        await ablate(
          withTest,
          constant,
          ...flags,
          '--set',
          'training.logging_steps=1',
          '--set',
          'training.save_steps=3',
        )
      ).status,
    ).toBe(0);
    await writeFile(join(folder, 'test.jsonl'), toJsonl(countingRows(4, 5)));
    const others = await ablate(withTest, constant, ...flags);
    expect([others.status, others.stderr.includes('data.test: file 1 holds something else')]).toEqual([2, true]);
  });

  it('goes on when a run fails, and makes it again only when asked to', async () => {
    const out = join(folder, 'failing');
    const text = `${BASE}\nruns: [{ r: 1 }, { r: 2, learning_rate: 1.0e+38 }, { r: 4 }, { r: 2, target_modules: nothing }]\noutput_dir: out`;
    const first = await ablate(text, out);
    expect(first.status).toBe(1);
    expect(first.stderr).toMatch(
      /2 of 4 runs failed \(--retry makes them again\):\n {2}r-2_learning_rate-1e\+38_seed-42: step \d: .* NaN; .*\n {2}r-2_target_modules-nothing_seed-42: .*nothing/,
    );
    expect(runsOf(await written(out)).map(({ id }) => id)).toEqual(['r-1_seed-42', 'r-4_seed-42']);
    expect(first.stdout).toContain('rank');
    const again = await ablate(text, out);
    expect([again.status, again.stderr.includes('begins')]).toEqual([1, false]);
    const retried = await ablate(text, out, '--retry');
    expect(retried.stderr).toContain('run 2/4 r-2_learning_rate-1e+38_seed-42: begins at step 0 of 6\n');
  });

  it('tells how many runs there are and what they may take before it starts', async () => {
    const { status, stderr } = await lowrank(
      'ablate',
      await file(`${BASE}\ngrid: { r: [1, 2, 4] }\noutput_dir: out`),
      '--output',
      join(folder, 'estimated'),
      '--set',
      'training.max_steps=1',
      '--set',
      'training.save_strategy=no',
      '--set',
      'training.save_steps=null',
    );
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(
      / {2}r-2_seed-42: 1 steps, about .*s, at most .* MiB\n[^]*3 of 3 runs to make, about .* in all, at most .* on the device at a time\n[^]*run 1\/3 r-1_seed-42: begins/,
    );
    const listed = await lowrank('ablate', await file(GRID), '--dry-run');
    expect(listed.stdout.split('\n')).toHaveLength(9);
  });
});

describe('a process', () => {
  let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

  beforeAll(async () => {
    bundle = await bundleLowrank();
  });

  afterAll(() => bundle.remove());

  /** @param until what it has written when it gets the signal */
  async function stopped(out: string, signal: NodeJS.Signals, until?: string, jobs = 1): Promise<Outcome> {
    const args = [bundle.main, 'ablate', await file(GRID), '--output', out, '--no-estimate', '--jobs', String(jobs)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    return outcomeOf(
      child,
      (text) => until !== undefined && text.includes(until) && !child.killed && child.kill(signal),
    );
  }

  it('that is killed goes on with the same command, to the same tables', async () => {
    const out = join(folder, 'killed');
    const moments = [
      'r-1_quantization-none_seed-1: step 3/6',
      'r-4_quantization-none_seed-1: done',
      'r-4_quantization-nf4_seed-1: begins',
    ];
    for (const [i, until] of moments.entries()) {
      expect((await stopped(out, 'SIGKILL', until, 1 + (i % 2))).status).toBeNull();
    }
    const { status, stderr } = await stopped(out, 'SIGKILL');
    expect(status, stderr).toBe(0);
    expect(await written(out)).toEqual(await written(undisturbed));
  });

  it.each([1, 2])('that gets SIGINT writes a checkpoint and says how to go on: runs at a time: %i', async (jobs) => {
    const out = join(folder, `interrupted-${jobs}`);
    const { status, stderr } = await stopped(out, 'SIGINT', 'r-1_quantization-none_seed-2: begins', jobs);
    expect(status, stderr).toBe(130);
    expect(stderr).toMatch(/stopped with \d of 8 runs finished; the same command goes on: lowrank ablate /);
    // The other way of running goes on with it.
    const again = await stopped(out, 'SIGKILL', undefined, 3 - jobs);
    expect(again.status, again.stderr).toBe(0);
    expect(await written(out)).toEqual(await written(undisturbed));
  });

  describe.skipIf(process.platform !== 'linux')('that the kernel kills', () => {
    const LONG = `${BASE}
runs: [{ r: 1 }, { r: 4 }]
seeds: [1]
retain: retain.jsonl
`;
    /** Kills both processes of the runs whenever one of them has reached step 20. */
    async function killed(out: string, most: number): Promise<Outcome & { kills: number }> {
      const path = join(folder, 'long.yaml');
      await writeFile(path, `${LONG}output_dir: out\n`);
      const set = ['training.max_steps=40', 'training.eval_steps=20', 'training.save_steps=10'];
      const args = [path, '--output', out, '--no-estimate', '--jobs', '2', ...set.flatMap((each) => ['--set', each])];
      const child = spawn(process.execPath, [bundle.main, 'ablate', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      let kills = 0;
      const outcome = await outcomeOf(child, (text) => {
        const moment = kills === 0 ? /r-4_seed-1: step 20\/40/ : new RegExp(`(?:r-4_seed-1: begins[^]*){${kills + 1}}`);
        if (kills >= most || !moment.test(text)) return;
        kills++;
        killChildren(child);
      });
      return { ...outcome, kills };
    }

    it('is started again from its last checkpoint, to the same tables', async () => {
      const [calm, disturbed] = [join(folder, 'calm'), join(folder, 'kernel')];
      expect((await killed(calm, 0)).status).toBe(0);
      const { status, stderr, kills } = await killed(disturbed, 2);
      expect([status, kills], stderr).toEqual([0, 2]);
      expect(stderr).toContain(
        'r-4_seed-1: its process ended with SIGKILL (most often the system has too little memory); once more, from its last checkpoint (2 of 3)',
      );
      expect(stderr).toMatch(/r-4_seed-1: begins at step [123]0 of 40/);
      expect(await written(disturbed)).toEqual(await written(calm));
    }, 300_000);

    it('every time is reported, and the same command continues', async () => {
      const out = join(folder, 'hopeless');
      const { status, stderr } = await killed(out, Infinity);
      expect(status).toBe(1);
      expect(stderr).toContain(
        'a process of the ablation was ended 3 times, at last with SIGKILL (most often the system has too little memory); rerun the same command to continue',
      );
      expect((await killed(out, 0)).status).toBe(0);
    }, 300_000);
  });
});
