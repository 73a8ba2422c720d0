import { section, type Section } from '../document.js';
import type { SubspaceInput } from '../inputs.js';
import type { Canvas } from '../plots/canvas.js';
import { heatMap } from '../plots/heatmap.js';
import { lineChart } from '../plots/lines.js';
import { fileName } from './evaluation.js';
import { labelOf, type Run } from './runs.js';

type Pair = SubspaceInput['pairs'][number];

/** Pairs of runs that a page shows: the others are in report.json. */
const MOST_MAPS = 15;

const MEANING =
  'φ(A_r1, A_r2, i, j) is how much of the first i right singular directions of one adapter lies among the first j of the other, from 0 (orthogonal) to 1 (contained); the mean over all modules.';

/** Heat maps of the similarity of what adapters of several ranks or seeds have learnt. */
export function similaritySection(canvas: Canvas, subspace: SubspaceInput | undefined): Section[] {
  const pairs = subspace?.pairs ?? [];
  const maps = chosen(pairs)
    .map((pair) => similarityMap(canvas, pair))
    .filter((block) => block !== undefined);
  if (maps.length === 0) return [];
  const rest = pairs.length - maps.length;
  return section(
    'Subspace similarity',
    {
      type: 'text',
      text: rest > 0 ? `${MEANING} ${maps.length} of ${pairs.length} pairs; report.json has all.` : MEANING,
    },
    ...maps,
  );
}

/**
 * What tells most first: each rank within the largest (what a small rank found, did the large one find it too?), the
 * nearest first; then two seeds of each rank, the largest first (is it found every time?); then the rest. A second pair
 * of the same kind comes after all firsts.
 */
function chosen(pairs: readonly Pair[]): readonly Pair[] {
  const largest = Math.max(...pairs.flatMap(({ ranks }) => ranks));
  const kindOf = ({ ranks, seeds }: Pair): string => `${ranks.join()} ${seeds[0] === seeds[1]}`;
  const placeOf = ({ ranks, seeds }: Pair): number =>
    seeds[0] !== seeds[1] ? 1 : Math.max(...ranks) === largest ? 0 : 2;
  const seen = new Map<string, number>();
  return pairs
    .map((pair) => {
      const repeat = seen.get(kindOf(pair)) ?? 0;
      seen.set(kindOf(pair), repeat + 1);
      return { pair, repeat };
    })
    .sort(
      (a, b) =>
        a.repeat - b.repeat ||
        placeOf(a.pair) - placeOf(b.pair) ||
        Math.min(...b.pair.ranks) - Math.min(...a.pair.ranks),
    )
    .slice(0, MOST_MAPS)
    .map(({ pair }) => pair);
}

function similarityMap(canvas: Canvas, { first, second, ranks, seeds, mean }: Pair): ReturnType<typeof heatMap> {
  const [r1, r2] = ranks;
  const sameSeed = seeds[0] === seeds[1];
  const title = sameSeed
    ? `φ between rank ${r1} and rank ${r2} (seed ${seeds[0]})`
    : `φ between seeds ${seeds[0]} and ${seeds[1]} (rank ${r1})`;
  const corner = mean[0]?.[0];
  const last = mean.at(-1)?.at(-1);
  return heatMap(canvas, {
    name: `phi-${fileName(`${first}-${second}`)}`,
    title,
    description: `φ(i, j) between ${first} and ${second}, ${mean.length} × ${mean[0]?.length ?? 0} directions. Of the leading directions ${corner?.toFixed(3) ?? '–'}, of all ${last?.toFixed(3) ?? '–'}.`,
    x: `j, directions of r = ${r2}${sameSeed ? '' : `, seed ${seeds[1]}`}`,
    y: `i, of r = ${r1}${sameSeed ? '' : `, seed ${seeds[0]}`}`,
    values: mean,
  });
}

/** Singular values of ΔW by their place, the geometric mean over modules, a line a run. */
export function spectraSection(canvas: Canvas, subspace: SubspaceInput | undefined, runs: readonly Run[]): Section[] {
  const byLabel = new Map<string, (readonly [number, number])[][]>();
  for (const [id, modules] of Object.entries(subspace?.spectra ?? {})) {
    const run = runs.find((other) => other.id === id);
    const label = run === undefined ? id : labelOf(run);
    byLabel.set(label, [...(byLabel.get(label) ?? []), meanSpectrum(Object.values(modules))]);
  }
  const series = [...byLabel].map(([name, lines]) => ({
    name,
    lines,
    marked: lines.every((line) => line.length <= 16),
  }));
  const words = series
    .map(
      ({ name, lines: [line] }) =>
        `${name}: from ${Number((line?.[0]?.[1] ?? 0).toPrecision(3))} to ${Number((line?.at(-1)?.[1] ?? 0).toPrecision(3))}`,
    )
    .join('; ');
  return section(
    'Singular values of the updates',
    lineChart(canvas, {
      name: 'spectra',
      title: 'Singular values of ΔW',
      description: `Singular values of the updates, the geometric mean over modules. ${words}.`,
      x: 'place of the singular value',
      y: 'singular value',
      log: true,
      series,
    }),
  );
}

/**
 * exp of the mean of the logarithms: values of modules differ by orders of magnitude. Zeros have none and are left out.
 */
function meanSpectrum(modules: readonly (readonly number[])[]): (readonly [number, number])[] {
  const longest = Math.max(0, ...modules.map((values) => values.length));
  return Array.from({ length: longest }, (_, i) => {
    const logs = modules.flatMap((values) => ((values[i] ?? 0) > 0 ? [Math.log(values[i] as number)] : []));
    return [i + 1, logs.length === 0 ? 0 : Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length)] as const;
  });
}
