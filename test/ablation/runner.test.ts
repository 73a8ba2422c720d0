import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAblation } from '../../src/ablation/config.js';
import type { Evaluation } from '../../src/ablation/evaluation.js';
import type { AblationRequest, AblationState } from '../../src/ablation/request.js';
import { runAblation } from '../../src/ablation/runner.js';
import { planRuns, type AblationRun } from '../../src/ablation/runs.js';
import type { AblationStore } from '../../src/ablation/store.js';
import { openSources } from '../../src/workspace/ablation/sources.js';
import { folderStore } from '../../src/workspace/ablation/folder-store.js';
import { nodeHost } from '../../src/node.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-runner-'));
  await writeTinyModel(join(folder, 'model'));
  for (const [name, count, seed] of [
    ['train', 12, 1],
    ['validation', 4, 2],
  ] as const)
    await writeFile(join(folder, `${name}.jsonl`), toJsonl(countingRows(count, seed)));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const idsOf = ({ finished, failed, pending }: AblationState): Record<string, string[]> => ({
  finished: finished.map(({ result }) => result.id),
  failed: failed.map(({ id }) => id),
  pending: pending.map(({ id }) => id),
});

/** Three ranks of two steps each, with a store whose ways and whose notes can be changed. */
async function request(
  name: string,
  change: (store: AblationStore) => Partial<AblationStore>,
  rest: Partial<AblationRequest> = {},
): Promise<{ make: () => Promise<AblationState>; notes: string[]; runs: AblationRun[] }> {
  const text = `
base:
  model: ./model
  device: cpu
  data: { train: train.jsonl, validation: validation.jsonl }
  training: { output_dir: out, max_steps: 2, per_device_train_batch_size: 2, save_strategy: 'no' }
grid: { r: [1, 2, 4] }
output_dir: ${name}
`;
  const ablation = parseAblation(text, join(folder, 'ablation.yaml'));
  const runs = await planRuns(ablation, { readText: () => Promise.reject(new Error('the base is inline')) });
  const store = folderStore(ablation.outputDir, () => undefined);
  const notes: string[] = [];
  const make = async (): Promise<AblationState> => {
    const sources = openSources(() => undefined);
    try {
      return await runAblation({
        runs,
        store: { ...store, ...change(store) },
        host: nodeHost,
        open: (run) => sources.of(run),
        estimate: false,
        ...rest,
        callbacks: { ...rest.callbacks, onNote: (note) => notes.push(note) },
      });
    } finally {
      await sources.close();
    }
  };
  return { make, notes, runs };
}

describe('the runs of an ablation', () => {
  it('go on when the folder of one cannot be opened, or its failure not be written down', async () => {
    const { make, notes } = await request('unopened', (store) => ({
      async open(run) {
        if (run.id === 'r-1_seed-42') throw new Error('its folder is locked');
        const opened = await store.open(run);
        if (run.id !== 'r-2_seed-42') return opened;
        return {
          ...opened,
          begin: () => Promise.reject(new Error('no space left')),
          fail: () => Promise.reject(new Error('still no space left')),
        };
      },
    }));
    const state = await make();
    expect(idsOf(state)).toEqual({ finished: ['r-4_seed-42'], failed: ['r-1_seed-42', 'r-2_seed-42'], pending: [] });
    expect(state.failed.map(({ error }) => error)).toEqual(['its folder is locked', 'no space left']);
    expect(notes).toContain('r-2_seed-42: its failure was not noted down: still no space left');
  });

  it('are finished although the tables could not be written, which is told', async () => {
    const { make, notes } = await request('tables', () => ({}), {
      callbacks: { onFinished: () => Promise.reject(new Error('no space left')) },
    });
    expect(idsOf(await make())).toEqual({
      finished: ['r-1_seed-42', 'r-2_seed-42', 'r-4_seed-42'],
      failed: [],
      pending: [],
    });
    expect(notes.filter((note) => note.includes('its tables were not written: no space left'))).toHaveLength(1);
    expect(idsOf(await make())['finished']).toHaveLength(3);
  });

  it('that are stopped in their evaluation are evaluated in the next sitting, from the checkpoint of the last step', async () => {
    let stop = false;
    let calls = 0;
    let stopAt = Infinity;
    const evaluation: Evaluation = {
      hash: 'of the tasks',
      retained: new Map([['score', false]]),
      async evaluate(decoder, _tokenizer, shouldStop) {
        await Promise.resolve();
        stop ||= ++calls === stopAt;
        return shouldStop?.() === true ? undefined : { metrics: { score: decoder.config.numLayers }, answers: [] };
      },
    };
    const begun: string[] = [];
    const callbacks = {
      shouldStop: () => stop,
      onRun: ({ id }: AblationRun, { doneSteps }: { doneSteps: number }) => void begun.push(`${id} ${doneSteps}`),
    };
    const { make } = await request('evaluated', () => ({}), { evaluation, callbacks });
    // The base comes first, then the first run.
    stopAt = 2;
    expect(idsOf(await make())).toEqual({
      finished: [],
      failed: [],
      pending: ['r-1_seed-42', 'r-2_seed-42', 'r-4_seed-42'],
    });
    expect(calls).toBe(2);
    stop = false;
    const state = await make();
    expect(begun).toEqual(['r-1_seed-42 0', 'r-1_seed-42 2', 'r-2_seed-42 0', 'r-4_seed-42 0']);
    expect(state.finished.map(({ result: { metrics, forgetting, steps } }) => [metrics, forgetting, steps])).toEqual(
      [1, 2, 4].map(() => [{ score: 2 }, { score: 0 }, 2]),
    );
    const undisturbed = await request('undisturbed', () => ({}), { evaluation });
    const expected = await undisturbed.make();
    const numbersOf = ({ finished }: AblationState): unknown[] =>
      finished.map(({ result: { config: _folders, ...result } }) => result);
    expect(numbersOf(state)).toEqual(numbersOf(expected));
  });

  it('are not begun where the stop comes while the base is measured', async () => {
    let stop = false;
    const evaluation: Evaluation = {
      hash: 'of the tasks',
      retained: new Map(),
      evaluate: () => {
        stop = true;
        return Promise.resolve(undefined);
      },
    };
    const begun: string[] = [];
    const { make } = await request('base', () => ({}), {
      evaluation,
      callbacks: { shouldStop: () => stop, onRun: ({ id }) => void begun.push(id) },
    });
    const state = await make();
    expect([idsOf(state)['pending']?.length, begun, state.baselines]).toEqual([3, [], {}]);
  });
});
