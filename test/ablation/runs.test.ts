import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAblation } from '../../src/ablation/config.js';
import { alphaOf, planRuns, type AblationRun } from '../../src/ablation/runs.js';
import { openEvaluation } from '../../src/workspace/ablation/evaluation-files.js';
import { ConfigError } from '../../src/errors.js';

const BASE =
  'base: { model: ./model, adapter: { r: 4, lora_dropout: 0.1 }, data: { train: rows.jsonl, validation: more.jsonl }, training: { output_dir: out } }';

async function plan(text: string, set: readonly string[] = []): Promise<AblationRun[]> {
  const ablation = parseAblation(text, '/home/me/ablation.yaml');
  return planRuns(ablation, {
    set,
    folder: '/cwd',
    readText: (path) =>
      path === '/home/me/runs/base.yaml'
        ? Promise.resolve(
            'model: ./model\ndata: { train: a.jsonl, validation_split: 0.1 }\ntraining: { output_dir: out }',
          )
        : Promise.reject(new Error(path)),
  });
}

describe('the runs of an ablation', () => {
  it('are all combinations of the grid, each with every seed', async () => {
    const runs = await plan(
      `${BASE}\ngrid: { r: [1, 2], lora_alpha: 2r, quantization: [none, nf4] }\nseeds: [7, 8]\noutput_dir: out`,
    );
    expect(runs.map(({ id }) => id)).toEqual(
      [1, 2].flatMap((r) =>
        ['none', 'nf4'].flatMap((q) => [7, 8].map((seed) => `r-${r}_lora_alpha-2r_quantization-${q}_seed-${seed}`)),
      ),
    );
    const { config, settings } = runs[6] as AblationRun;
    expect(settings).toEqual({ r: 2, lora_alpha: '2r', quantization: 'nf4' });
    expect(config).toMatchObject({
      model: '/home/me/model',
      adapter: { r: 2, lora_alpha: 4, lora_dropout: 0.1 },
      quantization: { load_in_4bit: true, bnb_4bit_quant_type: 'nf4' },
    });
    expect(config.training).toMatchObject({
      seed: 7,
      output_dir: '/home/me/out/runs/r-2_lora_alpha-2r_quantization-nf4_seed-7',
      save_total_limit: 1,
    });
    expect(config.data.train).toBe('/home/me/rows.jsonl');
  });

  it('come from a base in a file, with overrides of the ablation and of the command line, each with its paths', async () => {
    const [run, other] = await plan(
      'base: ./runs/base.yaml\noverrides: { data: { train: ./own.jsonl }, training: { max_steps: 5 } }\nruns: [{ train_rows: 10, target_modules: [q_proj, v_proj] }, { r: 3, training.warmup_steps: 2 }]\noutput_dir: ./out',
      ['training.max_steps=6', 'data.test=./test.jsonl'],
    );
    expect(run?.id).toBe('target_modules-q_proj+v_proj_train_rows-10_seed-42');
    expect(run?.config).toMatchObject({
      model: '/home/me/runs/model',
      data: { train: '/home/me/own.jsonl', test: '/cwd/test.jsonl', max_train_samples: 10 },
      training: { max_steps: 6 },
      adapter: { target_modules: ['q_proj', 'v_proj'] },
    });
    expect(other?.config.training.warmup_steps).toBe(2);
  });

  it('leave out what belongs to the method of the base where they have another', async () => {
    const [run] = await plan(`${BASE}\nruns: [{ method: bottleneck, adapter.bottleneck_size: 4 }]\noutput_dir: out`);
    expect(run?.config.adapter).toMatchObject({ method: 'bottleneck', bottleneck_size: 4 });
  });

  it('of the quickstart are evaluated on its task and on what its base could do', async () => {
    const file = resolve('configs/quickstart-ablation.yaml');
    const ablation = parseAblation(await readFile(file, 'utf8'), file);
    const runs = await planRuns(ablation, { readText: (path) => readFile(path, 'utf8') });
    expect(runs.map(({ config, seed }) => [config.adapter.r, seed])).toEqual(
      [1, 2, 4, 8, 16].flatMap((r) => [
        [r, 1],
        [r, 2],
      ]),
    );
    const opened = await openEvaluation(ablation, 20, { onMessage: () => undefined });
    await opened.close();
    expect([...(opened.evaluation?.retained ?? [])]).toEqual([['known/loss', true]]);
  });

  it('have alphas that follow the rank', () => {
    expect([alphaOf(5, 16), alphaOf('r', 16), alphaOf('0.5r', 16), alphaOf('sqrt', 16), alphaOf('8sqrt', 16)]).toEqual([
      5, 16, 8, 4, 32,
    ]);
  });

  it.each([
    ['grid: { r: [0] }\noutput_dir: out', /ablation\.yaml:2:9: grid\.r: 0: /],
    ['grid: { rank: [1] }\noutput_dir: out', /grid\.rank: neither a factor \(r, lora_alpha, .* nor an option of a run/],
    ['runs: [{ lora_alpha: twice }]\noutput_dir: out', /lora_alpha: "twice"/],
    ['grid: { r: [] }\noutput_dir: out', /grid\.r: an empty list/],
    ['grid: { training.seed: [1] }\noutput_dir: out', /belongs in seeds/],
    ['output_dir: out', /neither grid nor runs/],
    ['grid: { r: [1] }', /output_dir/],
    ['grid: { r: [2, 2] }\noutput_dir: out', /r-2_seed-42 is listed twice/],
    [
      'runs: [{ r: 2, lora_alpha: 4 }, { r: 2, lora_alpha: 2r }]\noutput_dir: out',
      /r-2_lora_alpha-4_seed-42 and r-2_lora_alpha-2r_seed-42 are the same run/,
    ],
    ['runs: [{ target_modules: "(" , adapter.r: 0 }]\noutput_dir: out', /run .*: .*adapter\.r must be an integer ≥ 1/],
    [
      'grid: { r: [1] }\noverrides: { data: { validation: null } }\noutput_dir: out',
      /an ablation compares validation losses/,
    ],
  ])('are refused where they make no sense: %s', async (text, message) => {
    await expect(plan(`${BASE}\n${text}`)).rejects.toThrow(ConfigError);
    await expect(plan(`${BASE}\n${text}`)).rejects.toThrow(message);
  });
});
