import { Random } from '../../src/random.js';

/** A choice out of a factor's levels, by their places. */
export interface Choice {
  readonly factor: number;
  readonly level: number;
}

export interface CoveringRequest {
  /** Levels of each factor. Level 0 goes with every level of every other factor. */
  readonly levels: readonly number[];
  /** Whether choices cannot be made together. */
  readonly excluded: (choices: readonly Choice[]) => boolean;
  /** Choices that are looked at together: 2 covers all pairs, 3 all triples. */
  readonly strength: number;
  readonly seed: number;
}

/**
 * Rows with a level a factor, such that every `strength` choices that can be made together are made together in one of
 * them. Greedy: a row begins with choices that no row has yet, and takes for each further factor the level that adds
 * most. Source: Cohen, Dalal, Fredman, Patton, "The AETG system" (1997).
 */
export function coveringRows({ levels, excluded, strength, seed }: CoveringRequest): number[][] {
  const random = new Random(seed, 'covering');
  const uncovered = new Map<string, readonly Choice[]>();
  for (const factors of combinations(levels.length, strength)) {
    for (const choices of product(factors, levels)) {
      if (!excluded(choices)) uncovered.set(keyOf(choices), choices);
    }
  }
  const rows: number[][] = [];
  for (let [next] = uncovered.values(); next !== undefined; [next] = uncovered.values()) {
    const chosen = [...next];
    for (const factor of random.permutation(levels.length)) {
      if (chosen.some((choice) => choice.factor === factor)) continue;
      const candidates = Array.from({ length: levels[factor] as number }, (_, level) => ({ factor, level })).filter(
        (choice) => !excluded([...chosen, choice]),
      );
      const gains = candidates.map(
        (choice) => subsets(chosen, strength - 1).filter((others) => uncovered.has(keyOf([...others, choice]))).length,
      );
      const best = Math.max(...gains);
      const equal = candidates.filter((_, i) => gains[i] === best);
      chosen.push(equal[random.below(equal.length)] as Choice);
    }
    for (const choices of subsets(chosen, strength)) uncovered.delete(keyOf(choices));
    rows.push(chosen.sort((a, b) => a.factor - b.factor).map(({ level }) => level));
  }
  return rows;
}

function keyOf(choices: readonly Choice[]): string {
  return [...choices]
    .sort((a, b) => a.factor - b.factor)
    .map(({ factor, level }) => `${factor}:${level}`)
    .join();
}

function combinations(count: number, size: number): number[][] {
  return subsets(
    Array.from({ length: count }, (_, i) => i),
    size,
  );
}

function subsets<T>(items: readonly T[], size: number): T[][] {
  if (size === 0) return [[]];
  return items.flatMap((item, i) => subsets(items.slice(i + 1), size - 1).map((rest) => [item, ...rest]));
}

function product(factors: readonly number[], levels: readonly number[]): Choice[][] {
  return factors.reduce<Choice[][]>(
    (all, factor) =>
      all.flatMap((choices) =>
        Array.from({ length: levels[factor] as number }, (_, level) => [...choices, { factor, level }]),
      ),
    [[]],
  );
}
