/** Losses of one rank, one of each seed. */
export interface RankLosses {
  readonly rank: number;
  readonly losses: readonly number[];
}

/** The rank that an ablation recommends, with the numbers that it rests on. */
export interface Recommendation {
  readonly rank: number;
  /** The rank with the lowest mean loss. */
  readonly best: number;
  /** How far above the best mean a mean may lie; undefined where no rank has two seeds. */
  readonly margin: number | undefined;
  readonly pooledSd: number | undefined;
  readonly degreesOfFreedom: number;
  /** The recommendation with its rule, for people. */
  readonly text: string;
}

/** Mean, and the deviation of the sample (over n − 1), 0 of a single value. */
export function meanAndSd(values: readonly number[]): { mean: number; sd: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}

/**
 * s_p = √(Σ(n_k − 1)·s_k² / Σ(n_k − 1)): the spread between seeds, from all ranks together; undefined without a second
 * seed.
 */
export function pooledSd(groups: readonly (readonly number[])[]): { sd: number | undefined; degreesOfFreedom: number } {
  const degreesOfFreedom = groups.reduce((sum, values) => sum + Math.max(0, values.length - 1), 0);
  const squares = groups.reduce((sum, values) => sum + (values.length - 1) * meanAndSd(values).sd ** 2, 0);
  return { sd: degreesOfFreedom === 0 ? undefined : Math.sqrt(squares / degreesOfFreedom), degreesOfFreedom };
}

/**
 * The smallest rank within the noise of the best: whose mean loss is at most mean_best + s_p·√(1/n_best + 1/n), one
 * standard error of the difference of the two means, s_p the deviation between seeds pooled over all ranks. Without a
 * second seed there is no noise to go by, and it is the best rank itself. Losses that are no numbers do not count.
 * @returns undefined for fewer than two ranks.
 */
export function recommendRank(ranks: readonly RankLosses[]): Recommendation | undefined {
  const known = ranks.map(({ rank, losses }) => ({ rank, losses: losses.filter(Number.isFinite) }));
  const groups = known.filter(({ losses }) => losses.length > 0).sort((a, b) => a.rank - b.rank);
  if (groups.length < 2) return undefined;
  const means = groups.map(({ losses }) => meanAndSd(losses).mean);
  const at = means.indexOf(Math.min(...means));
  const [best, bestMean] = [groups[at] as RankLosses, means[at] as number];
  const { sd, degreesOfFreedom } = pooledSd(groups.map(({ losses }) => losses));
  const marginOf = ({ losses }: RankLosses): number =>
    (sd ?? 0) * Math.sqrt(1 / best.losses.length + 1 / losses.length);
  const chosen = groups.findIndex((group, i) => group === best || (means[i] as number) <= bestMean + marginOf(group));
  const { rank } = groups[chosen] as RankLosses;
  const margin = sd === undefined ? undefined : marginOf(groups[chosen] as RankLosses);
  const lowest = `rank ${best.rank} has the lowest mean validation loss, ${shown(bestMean)}`;
  const text =
    margin === undefined || sd === undefined
      ? `Rank ${rank}: ${lowest}. With one seed a rank there is no telling difference from noise: run several seeds.`
      : rank === best.rank
        ? `Rank ${rank}: ${lowest}, and no smaller rank comes within one standard error of the difference (pooled deviation between seeds ${shown(sd)}, ${degreesOfFreedom} degrees of freedom).`
        : `Rank ${rank}: the smallest whose mean validation loss, ${shown(means[chosen] as number)}, is within one standard error of the difference (${shown(margin)}: pooled deviation between seeds ${shown(sd)}, ${degreesOfFreedom} degrees of freedom) of the best; ${lowest}.`;
  const larger = at === groups.length - 1 ? ' The best rank is the largest that was tried: try larger ones.' : '';
  return { rank, best: best.rank, margin, pooledSd: sd, degreesOfFreedom, text: text + larger };
}

function shown(value: number): string {
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : value.toFixed(4);
}
