/** How often each n-gram of a list of tokens occurs; keys join the tokens with a space, which no token holds. */
export function ngramCounts(tokens: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const key = tokens.slice(i, i + n).join(' ');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** For each n-gram its highest count in any of several texts. */
export function maxCounts(texts: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const highest = new Map<string, number>();
  for (const counts of texts)
    for (const [key, count] of counts) highest.set(key, Math.max(count, highest.get(key) ?? 0));
  return highest;
}

/** Occurrences that two texts share, each counted as often as in the one that has fewer. */
export function sharedCount(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  let shared = 0;
  for (const [key, count] of a) shared += Math.min(count, b.get(key) ?? 0);
  return shared;
}

export function totalCount(counts: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}

/** Length of the longest common subsequence. */
export function commonSubsequence(a: readonly string[], b: readonly string[]): number {
  let previous = new Int32Array(b.length + 1);
  for (const token of a) {
    const row = new Int32Array(b.length + 1);
    for (let j = 1; j <= b.length; j++) {
      row[j] =
        token === b[j - 1] ? (previous[j - 1] as number) + 1 : Math.max(previous[j] as number, row[j - 1] as number);
    }
    previous = row;
  }
  return previous[b.length] as number;
}

/** The length nearest to `length`; of two equally near ones the shorter. */
export function closestLength(length: number, candidates: readonly number[]): number {
  return candidates.reduce((best, candidate) => {
    const [gap, held] = [Math.abs(candidate - length), Math.abs(best - length)];
    return gap < held || (gap === held && candidate < best) ? candidate : best;
  });
}

/** Words between white space. */
export function splitWords(text: string): string[] {
  return text.split(/\s+/u).filter((word) => word !== '');
}

/** Sums of the columns of a list of rows of the same length; empty for no rows. */
export function sumRows(rows: readonly (readonly number[])[]): number[] {
  const sums = rows[0]?.map(() => 0) ?? [];
  for (const row of rows) row.forEach((value, i) => (sums[i] = (sums[i] as number) + value));
  return sums;
}
