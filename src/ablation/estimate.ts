import { countParameters } from '../adapters/counts.js';
import { mixOf } from '../data/mix.js';
import type { ModelConfig } from '../model/config.js';
import { readModelConfig } from '../model/load.js';
import { loadBase, loadData, openAdapter, withTokenizer } from '../finetune/load.js';
import { diskNeedsOf, type DiskNeeds } from '../finetune/disk-needs.js';
import { planFor, trainedBytesOf } from '../finetune/options.js';
import type { CheckedRequest } from '../finetune/request.js';
import type { SharedResources } from '../finetune/shared-resources.js';
import { train } from '../train/loop.js';
import { stepsPerEpoch, totalStepsOf } from '../train/schedule.js';
import { rankOf, withoutRank } from './families.js';
import { settingsKey, type AblationRun } from './runs.js';

/** What a run may take. */
export interface RunEstimate {
  readonly run: AblationRun;
  readonly steps: number;
  readonly seconds: number;
  /** Planned bytes on the device at the fullest moment of a step; undefined where a plan cannot follow. */
  readonly peakBytes: number | undefined;
}

interface Context {
  readonly shared: SharedResources;
  readonly requestOf: (run: AblationRun) => Promise<CheckedRequest>;
  /** What the evaluation of the base took. */
  readonly evaluationSeconds: (run: AblationRun) => number;
  readonly stopped: () => boolean;
}

/** What of the settings changes no step's time. */
const WITHOUT_COST = new Set(['learning_rate', 'lora_alpha', 'use_rslora', 'train_rows']);
/** The first is thrown away: it compiles and fills caches. */
const MEASURED_STEPS = 2;
/**
 * Operations of a training token: for each frozen weight, forward and for the gradient of its input; for each trained
 * one its own too.
 */
const [FROZEN_WORK, TRAINED_WORK] = [4, 6];
/** An evaluation has no backward pass. */
const FORWARD_PART = 1 / 3;

/**
 * A step of every kind of run is measured at its smallest rank; at others it is taken to grow with the work. Nothing of
 * it is left: the adapters that it trains are thrown away.
 */
export async function estimateRuns(runs: readonly AblationRun[], context: Context): Promise<RunEstimate[]> {
  const kinds = new Map<string, AblationRun[]>();
  for (const run of runs) {
    const key = settingsKey(
      Object.fromEntries(Object.entries(withoutRank(run.settings)).filter(([name]) => !WITHOUT_COST.has(name))),
    );
    kinds.set(key, [...(kinds.get(key) ?? []), run]);
  }
  const estimates = new Map<AblationRun, RunEstimate>();
  for (const kind of kinds.values()) {
    const smallest = kind.reduce((least, run) => (rank(run) < rank(least) ? run : least));
    const { seconds, frozen, trained } = await measureToken(smallest, context);
    for (const run of kind) {
      const more = (trained * rank(run)) / Math.max(1, rank(smallest));
      const work = (FROZEN_WORK * frozen + TRAINED_WORK * more) / (FROZEN_WORK * frozen + TRAINED_WORK * trained);
      estimates.set(run, await estimateOf(run, rank(smallest) === 0 ? seconds : seconds * work, context));
    }
  }
  return runs.map((run) => estimates.get(run) as RunEstimate);
}

function rank({ config }: AblationRun): number {
  return rankOf(config) ?? 0;
}

/** Time of a training token of a run, and how many parameters are frozen and trained. */
async function measureToken(
  run: AblationRun,
  { shared, requestOf, stopped }: Context,
): Promise<{ seconds: number; frozen: number; trained: number }> {
  if (stopped()) return { seconds: NaN, frozen: 1, trained: 0 };
  const request = await withTokenizer(await requestOf(run));
  const model = await readModelConfig(request.model);
  const data = await loadData(request, model, shared);
  const decoder = await loadBase(request, model, shared);
  const adapter = await openAdapter(request, decoder);
  try {
    const moments: { readonly at: number; readonly tokens: number }[] = [];
    const { config } = request;
    await shared.device.guard(
      train({
        decoder,
        adapter,
        examples: data.train.examples,
        mix: mixOf(data.train.parts),
        shuffle: config.data.shuffle,
        options: { ...config.training, max_steps: MEASURED_STEPS, logging_steps: 1, save_strategy: 'no' },
        callbacks: { onStep: ({ tokens }) => moments.push({ at: performance.now(), tokens }), shouldStop: stopped },
      }),
    );
    const [first, last] = [moments[0], moments.at(-1)];
    const seconds =
      first === undefined || last === undefined
        ? NaN
        : (last.at - first.at) / 1000 / Math.max(1, last.tokens - first.tokens);
    const { trainable, total } = countParameters(decoder, adapter);
    return { seconds, frozen: total - trainable, trained: trainable };
  } finally {
    adapter.dispose();
  }
}

async function estimateOf(
  run: AblationRun,
  perToken: number,
  { shared, requestOf, evaluationSeconds }: Context,
): Promise<RunEstimate> {
  const request = await withTokenizer(await requestOf(run));
  const { training } = run.config;
  const model = await readModelConfig(request.model);
  const data = await loadData(request, model, shared);
  const { examples, stats } = data.train;
  const steps = totalStepsOf(examples.length, training);
  const batch = training.per_device_train_batch_size * training.gradient_accumulation_steps;
  // Streamed rows are not counted: those of a full length are more than there will be.
  const perExample = stats.tokens === undefined ? run.config.data.max_length : stats.tokens / examples.length;
  const perEpoch = stepsPerEpoch(
    examples.length,
    training.per_device_train_batch_size,
    training.gradient_accumulation_steps,
  );
  const evaluations = Math.ceil(steps / (training.eval_steps ?? perEpoch));
  const evaluated = (data.validation?.stats.tokens ?? 0) * evaluations + (data.test?.stats.tokens ?? 0);
  const seconds =
    perToken * (steps * Math.min(batch, examples.length) * perExample + FORWARD_PART * evaluated) +
    evaluationSeconds(run);
  return { run, steps, seconds, peakBytes: await plannedBytes(request, model, shared) };
}

/**
 * Bytes on the device at the fullest moment of a step, with the scratch memory of one thread: so that a table does not
 * tell how many there were. Undefined where the plan cannot follow, or the run itself will say what is wrong.
 */
export async function plannedBytes(
  { config, initFrom, host }: CheckedRequest,
  model: ModelConfig,
  { device }: SharedResources,
): Promise<number | undefined> {
  try {
    const { total } = (await planFor({ config, model, initFrom, device, host, threads: 1 })).plan;
    return Number.isFinite(total) ? total : undefined;
  } catch {
    return undefined;
  }
}

/** What a run writes from its first step on. */
export async function diskNeedsOfRun(given: CheckedRequest, shared: SharedResources): Promise<DiskNeeds> {
  const request = await withTokenizer(given);
  const { config, initFrom } = request;
  const model = await readModelConfig(request.model);
  const data = await loadData(request, model, shared);
  const { trained, slots } = await trainedBytesOf({ config, model, initFrom, backend: shared.device.backend });
  return diskNeedsOf(config, data, { trainedBytes: trained, slotBytes: slots });
}
