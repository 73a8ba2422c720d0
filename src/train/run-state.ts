import * as z from 'zod';
import type { AdapterParameter } from '../adapters/adapter.js';
import type { SamplerState } from '../data/sampler.js';
import { FormatError } from '../errors.js';
import { readJson, type Directory } from '../io/directory.js';
import { encodeSafetensors, float32Tensor, SafetensorsFile, type TensorBytes } from '../io/safetensors.js';
import type { BestState } from './best-evaluation.js';
import type { LossTrendState } from './loss-trend.js';
import type { EvalMetrics, TallyState } from './metrics.js';
import { ADAMW_SLOTS } from './optimizers/adamw.js';
import type { OptimizerSlot, OptimizerState, SlotValues } from './optimizers/optimizer.js';

/**
 * All that a run is between two steps. Random draws need no state of their own: dropout follows from the seed and the
 * number of the step, the order of the rows from the seed and the epoch, the choice of templates from the seed and the
 * row.
 */
export interface TrainState {
  /** Optimiser steps made. */
  readonly step: number;
  /** Of the whole run. */
  readonly totalSteps: number;
  readonly seed: number;
  /** Where the data goes on. */
  readonly sampler: SamplerState;
  /** Seen so far, padding left out. */
  readonly tokens: number;
  readonly tally: TallyState;
  /** Absent from checkpoints of versions that did not watch it. */
  readonly learning?: LossTrendState | undefined;
  readonly best: BestState;
  readonly optimizer: OptimizerState;
  /** Of the trained parameters, in their order. */
  readonly values: readonly Float32Array[];
}

export const STATE_FILE = 'training_state.json';
/** Values of the parameters and the optimiser's slots in float32, whatever the adapter's own files hold them in. */
export const OPTIMIZER_FILE = 'optimizer.safetensors';
/** The parameters at the best evaluation, with the keys of `adapter_model.safetensors`. */
export const BEST_FILE = 'best_adapter.safetensors';

const count = z.int().min(0);
const evaluation = z.object({
  step: count,
  epoch: z.number(),
  eval_loss: z.number(),
  perplexity: z.number().nullable().exactOptional(),
  metrics: z.record(z.string(), z.number()).exactOptional(),
});
const schema = z.object({
  format: z.literal(1),
  step: count,
  total_steps: count,
  seed: count,
  data: z.object({
    epoch: count,
    position: count,
    count,
    seed: count,
    shuffle: z.boolean(),
    mix: z.string().exactOptional(),
  }),
  tokens: count,
  loss_total: z.number(),
  seconds: z.number(),
  since_log: z.object({
    loss: z.number(),
    steps: count,
    tokens: count,
    seconds: z.number(),
    metrics: z.record(z.string(), z.number()).exactOptional(),
  }),
  learning: z
    .object({
      groups: z.array(z.tuple([count, z.number(), z.number()])),
      group_size: count,
      largest_grad_norm: z.number(),
    })
    .exactOptional(),
  optimizer_steps: count,
  best: evaluation.nullable(),
  evaluations_without_gain: count,
});

type StateJson = z.infer<typeof schema>;
type KeyedParameter = Pick<AdapterParameter, 'key' | 'variable'>;

/** The files of a state. @param slots of the run's optimiser */
export function trainStateFiles(
  state: TrainState,
  parameters: readonly KeyedParameter[],
  slots: readonly OptimizerSlot[] = ADAMW_SLOTS,
): Record<string, Uint8Array | string> {
  const {
    sampler,
    tally,
    learning,
    best: { best, evaluationsWithoutGain },
    optimizer,
  } = state;
  const json: StateJson = {
    format: 1,
    step: state.step,
    total_steps: state.totalSteps,
    seed: state.seed,
    data: { ...sampler },
    tokens: state.tokens,
    loss_total: tally.lossTotal,
    seconds: tally.seconds,
    since_log: { ...tally.sinceLog },
    ...(learning === undefined
      ? {}
      : {
          learning: {
            groups: learning.groups.map(([...group]) => group),
            group_size: learning.groupSize,
            largest_grad_norm: learning.largestNorm,
          },
        }),
    optimizer_steps: optimizer.steps,
    best: best?.metrics ?? null,
    evaluations_without_gain: evaluationsWithoutGain,
  };
  const tensors = new Map<string, TensorBytes>();
  parameters.forEach(({ key, variable }, i) => {
    tensors.set(`${key}.value`, float32Tensor(variable.shape, state.values[i] as Float32Array));
    for (const { name, shape } of slots)
      tensors.set(`${key}.${name}`, float32Tensor(shape(variable.shape), optimizer.slots[i]?.[name] as Float32Array));
  });
  const files: Record<string, Uint8Array | string> = {
    [STATE_FILE]: `${JSON.stringify(json, null, 1)}\n`,
    [OPTIMIZER_FILE]: encodeSafetensors(tensors, { format: 'pt' }),
  };
  if (best !== undefined) {
    const kept = parameters.map(
      ({ key, variable }, i) => [key, float32Tensor(variable.shape, best.values[i] as Float32Array)] as const,
    );
    files[BEST_FILE] = encodeSafetensors(new Map(kept), { format: 'pt' });
  }
  return files;
}

/** How far a saved run is, without its tensors. @throws FormatError naming each wrong field. */
export async function readProgress(
  directory: Directory,
): Promise<{ readonly step: number; readonly totalSteps: number }> {
  const { step, total_steps: totalSteps } = await readStateJson(directory);
  return { step, totalSteps };
}

/**
 * A saved state, for the parameters that it belongs to.
 * @param slots of the run's optimiser
 * @throws FormatError naming what is missing or does not fit.
 */
export async function readTrainState(
  directory: Directory,
  parameters: readonly KeyedParameter[],
  slots: readonly OptimizerSlot[] = ADAMW_SLOTS,
): Promise<TrainState> {
  const json = await readStateJson(directory);
  const wanted = (suffix: string, slot?: OptimizerSlot): [string, readonly number[]][] =>
    parameters.map(({ key, variable }) => [`${key}${suffix}`, slot?.shape(variable.shape) ?? variable.shape]);
  const tensors = await readValues(directory, OPTIMIZER_FILE, [
    ...wanted('.value'),
    ...slots.flatMap((slot) => wanted(`.${slot.name}`, slot)),
  ]);
  const values = tensors.slice(0, parameters.length);
  const slotsOf = (i: number): SlotValues =>
    Object.fromEntries(slots.map(({ name }, k) => [name, tensors[(k + 1) * parameters.length + i] as Float32Array]));
  const best =
    json.best === null
      ? undefined
      : {
          metrics: evaluationOf(json.best),
          values: await readValues(directory, BEST_FILE, wanted('')),
        };
  return {
    step: json.step,
    totalSteps: json.total_steps,
    seed: json.seed,
    sampler: json.data,
    tokens: json.tokens,
    tally: { lossTotal: json.loss_total, seconds: json.seconds, sinceLog: json.since_log },
    learning: json.learning && {
      groups: json.learning.groups,
      groupSize: json.learning.group_size,
      largestNorm: json.learning.largest_grad_norm,
    },
    best: { best, evaluationsWithoutGain: json.evaluations_without_gain },
    optimizer: {
      steps: json.optimizer_steps,
      slots: parameters.map((_, i) => slotsOf(i)),
    },
    values,
  };
}

/** JSON writes a perplexity that is infinite as null. */
function evaluationOf({ perplexity, ...rest }: z.infer<typeof evaluation>): EvalMetrics {
  return { ...rest, ...(perplexity === undefined ? {} : { perplexity: perplexity ?? Infinity }) };
}

async function readStateJson(directory: Directory): Promise<StateJson> {
  const json = await readJson(directory, STATE_FILE);
  if (json === undefined) throw new FormatError(`${directory.name}: no ${STATE_FILE}: not a checkpoint of a run`);
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
  throw new FormatError(`${directory.name}/${STATE_FILE}: ${problems.join('; ')}`);
}

/** Tensors of a file in the order asked for. */
async function readValues(
  directory: Directory,
  name: string,
  wanted: readonly (readonly [string, readonly number[]])[],
): Promise<Float32Array[]> {
  const source = await directory.open(name);
  if (source === undefined) throw new FormatError(`${directory.name}: no ${name}`);
  try {
    const file = await SafetensorsFile.open(source);
    const problems = wanted.flatMap(([key, shape]) => {
      const found = file.tensors.get(key)?.shape;
      if (found === undefined) return [`${key} is missing`];
      return found.join() === shape.join() ? [] : [`${key} is [${found.join(', ')}], expected [${shape.join(', ')}]`];
    });
    if (file.tensors.size > wanted.length)
      problems.push(`it has ${file.tensors.size} tensors, expected ${wanted.length}`);
    if (problems.length > 0)
      throw new FormatError(
        `${directory.name}/${name} belongs to a different adapter or optimiser: ${problems.join('; ')}`,
      );
    const values: Float32Array[] = [];
    for (const [key] of wanted) values.push(await file.readFloat32(key));
    return values;
  } finally {
    await source.close();
  }
}
