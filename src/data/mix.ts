import { Random } from '../random.js';
import type { DatasetPart } from './parts.js';

/** Examples of a part of the data, and how much of an epoch is drawn from them. */
export interface MixPart {
  readonly count: number;
  readonly weight: number;
}

/** The mix of a data set's parts; undefined where they have no weights. */
export function mixOf(parts: readonly Pick<DatasetPart, 'count' | 'weight'>[]): readonly MixPart[] | undefined {
  const mix = parts.flatMap(({ count, weight }) => (weight === undefined ? [] : [{ count, weight }]));
  return mix.length === 0 ? undefined : mix;
}

/**
 * Draws of each part in an epoch: as many together as there are examples, shared out by weight (largest remainders
 * round up). A part with a share above its size is gone through more than once an epoch, one below it in several
 * epochs.
 */
export function sharesOf(mix: readonly MixPart[]): number[] {
  const total = mix.reduce((sum, part) => sum + part.count, 0);
  const weights = mix.reduce((sum, part) => sum + part.weight, 0);
  const exact = mix.map((part) => (total * part.weight) / weights);
  const shares = exact.map(Math.floor);
  const byRemainder = exact.map((_, i) => i).sort((a, b) => remainder(exact[b]) - remainder(exact[a]) || a - b);
  const missing = total - shares.reduce((sum, share) => sum + share, 0);
  for (const i of byRemainder.slice(0, missing)) shares[i] = (shares[i] as number) + 1;
  return shares;
}

function remainder(value = 0): number {
  return value - Math.floor(value);
}

/**
 * The examples of an epoch. It is a function of its arguments alone: part k with share s draws the places epoch · s …
 * of an endless row of passes over its examples, each pass in an order of its own, so that all of them are drawn
 * equally often; then the draws of all parts are shuffled together. Without `shuffle` parts and passes keep their
 * order.
 */
export function mixedOrder(mix: readonly MixPart[], seed: number, epoch: number, shuffle: boolean): Int32Array {
  const shares = sharesOf(mix);
  const draws: number[] = [];
  let first = 0;
  mix.forEach(({ count }, k) => {
    const share = shares[k] as number;
    let place = epoch * share;
    for (const end = place + share; place < end;) {
      const pass = Math.floor(place / count);
      const order = shuffle ? new Random(seed, `mix/${k}/${pass}`).permutation(count) : undefined;
      for (; place < end && place < (pass + 1) * count; place++) {
        const within = place - pass * count;
        draws.push(first + (order?.[within] ?? within));
      }
    }
    first += count;
  });
  if (!shuffle) return Int32Array.from(draws);
  return new Random(seed, `shuffle/${epoch}`).permutation(draws.length).map((i) => draws[i] as number);
}
