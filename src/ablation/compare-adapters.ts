import { loraKey } from '../adapters/lora/tensor-shapes.js';
import { readAdapter } from '../adapters/peft/files.js';
import { loraScale, patternValue } from '../adapters/lora/config.js';
import { toFloat32 } from '../io/safetensors.js';
import { familiesOf, rankOf } from './families.js';
import type { FinishedRun } from './result.js';
import { settingsKey, type AblationRun } from './runs.js';
import type { AblationStore } from './store.js';
import {
  factorEigen,
  meanTable,
  rightDirections,
  subspaceSimilarity,
  updateSpectrum,
  type LowRankUpdate,
} from './subspace.js';

/** The directions of two adapters of the same settings but for rank, or for seed. */
export interface SpacePair {
  /** Ids of the runs. */
  readonly first: string;
  readonly second: string;
  readonly ranks: readonly [number, number];
  readonly seeds: readonly [number, number];
  /** φ(i, j) in row i − 1 and column j − 1, the mean over modules. */
  readonly mean: readonly (readonly number[])[];
  /** The same of each module, of its leading directions. */
  readonly modules: Readonly<Record<string, readonly (readonly number[])[]>>;
}

/** `subspace.json`. */
export interface Subspaces {
  readonly format: 1;
  /** φ(i, j) between two random spaces of the same sizes is about max(i, j) / in; what lies above was found by both. */
  readonly in_features: Readonly<Record<string, number>>;
  readonly pairs: readonly SpacePair[];
  /** Singular values of ΔW = s·B·A by run and module, falling. */
  readonly spectra: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
}

/** Directions that the mean over modules goes to, and that the table of each module goes to. */
const [MEAN_DIRECTIONS, MODULE_DIRECTIONS] = [64, 8];
const DIGITS = 5;

/**
 * Compares what finished runs of LoRA have learnt: all ranks of a family with the same seed, and all seeds of the same
 * rank.
 */
export async function compareSubspaces(
  runs: readonly AblationRun[],
  finished: readonly FinishedRun[],
  store: AblationStore,
): Promise<Subspaces> {
  const spaces: Space[] = [];
  const families = familiesOf(finished.map(({ result }) => result)).map(settingsKey);
  for (const [i, { result }] of finished.entries()) {
    const run = runs.find(({ id }) => id === result.id);
    const rank = rankOf(result.config);
    if (run === undefined || rank === undefined) continue;
    spaces.push({ run, rank, family: families[i] as string, modules: analysed(await readUpdates(store, run)) });
  }
  const pairs = spaces.flatMap((first, i) =>
    spaces.slice(i + 1).flatMap((second) => {
      const comparable =
        first.family === second.family && (first.run.seed === second.run.seed || first.rank === second.rank);
      const [small, large] = first.rank <= second.rank ? [first, second] : [second, first];
      return comparable ? [comparePair(small, large)] : [];
    }),
  );
  return {
    format: 1,
    in_features: Object.fromEntries(
      spaces.flatMap(({ modules }) => [...modules].map(([module, { inFeatures }]) => [module, inFeatures])),
    ),
    pairs: pairs.sort(
      (a, b) =>
        a.ranks[0] - b.ranks[0] || a.ranks[1] - b.ranks[1] || (a.first + a.second < b.first + b.second ? -1 : 1),
    ),
    spectra: Object.fromEntries(
      spaces.map(({ run, modules }) => [
        run.id,
        Object.fromEntries([...modules].map(([module, { spectrum }]) => [module, spectrum])),
      ]),
    ),
  };
}

interface Space {
  readonly run: AblationRun;
  readonly rank: number;
  readonly family: string;
  readonly modules: ReadonlyMap<string, ModuleSpace>;
}

/** What is kept of a module's update. */
interface ModuleSpace {
  readonly inFeatures: number;
  /** `[count, in]`. */
  readonly directions: Float64Array;
  readonly spectrum: readonly number[];
}

function analysed(updates: ReadonlyMap<string, LowRankUpdate>): Map<string, ModuleSpace> {
  return new Map(
    [...updates].map(([module, update]) => {
      const eigen = factorEigen(update);
      return [
        module,
        {
          inFeatures: update.inFeatures,
          directions: rightDirections(update, MEAN_DIRECTIONS, eigen),
          spectrum: updateSpectrum(update, eigen).map(significant),
        },
      ];
    }),
  );
}

function comparePair(first: Space, second: Space): SpacePair {
  const tables = new Map<string, number[][]>();
  for (const [module, { inFeatures, directions: u1 }] of first.modules) {
    const u2 = second.modules.get(module)?.directions;
    if (u2 === undefined || u1.length === 0) continue;
    tables.set(module, subspaceSimilarity(u1, u1.length / inFeatures, u2, u2.length / inFeatures));
  }
  const rounded = (table: readonly (readonly number[])[]): number[][] =>
    table.map((row) => row.map((value) => Number(value.toFixed(DIGITS))));
  return {
    first: first.run.id,
    second: second.run.id,
    ranks: [first.rank, second.rank],
    seeds: [first.run.seed, second.run.seed],
    mean: rounded(meanTable([...tables.values()])),
    modules: Object.fromEntries(
      [...tables].map(([module, table]) => [
        module,
        rounded(table.slice(0, MODULE_DIRECTIONS).map((row) => row.slice(0, MODULE_DIRECTIONS))),
      ]),
    ),
  };
}

/** The updates of linear layers of a saved adapter, by module. */
async function readUpdates(store: AblationStore, run: AblationRun): Promise<Map<string, LowRankUpdate>> {
  const { config, tensors } = await readAdapter(store.adapter(run));
  if (config.peftType !== 'LORA') return new Map();
  return new Map(
    [...tensors].flatMap(([key, a]): [string, LowRankUpdate][] => {
      const module = /^base_model\.model\.(.+)\.lora_A\.weight$/.exec(key)?.[1];
      const b = module === undefined ? undefined : tensors.get(loraKey(module, 'B'));
      if (module === undefined || b === undefined) return [];
      const [rank = 0, inFeatures = 0] = a.shape;
      const [outFeatures = 0] = b.shape;
      const scale = loraScale(rank, patternValue(config.alphaPattern, module, config.loraAlpha), config.useRslora);
      return [[module, { a: toFloat32(a, key), b: toFloat32(b, key), rank, inFeatures, outFeatures, scale }]];
    }),
  );
}

/** Six digits: more than float32 has of a small singular value. */
function significant(value: number): number {
  return Number(value.toPrecision(6));
}
