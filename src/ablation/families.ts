import type { Settings } from './config.js';
import { settingsKey } from './runs.js';

/** A run by what was asked for and what came of it. */
interface Settled {
  readonly settings: Settings;
  readonly config: Readonly<Record<string, unknown>>;
}

/** Rank of a run of LoRA. */
export function rankOf(config: Readonly<Record<string, unknown>>): number | undefined {
  const { method, r } = config['adapter'] as { method?: unknown; r?: unknown };
  return method === 'lora' && typeof r === 'number' ? r : undefined;
}

/**
 * For each run what makes it one of the same question as others at another rank: its settings but for the rank. An
 * alpha that is the same multiple of the rank, or of its root, in all runs that are otherwise alike follows the rank,
 * as if it had been written so: `2r`, `8sqrt`.
 */
export function familiesOf(runs: readonly Settled[]): Settings[] {
  const rests = runs.map(({ settings }) => withoutRank(settings));
  const keys = rests.map(({ lora_alpha: _alpha, ...rest }) => settingsKey(rest));
  return rests.map((rest, i) => {
    const alpha = followedRank(runs.filter((_, k) => keys[k] === keys[i]));
    return alpha === undefined ? rest : { ...rest, lora_alpha: alpha };
  });
}

/** All settings but the rank, whichever of its two names it goes by; so does alpha. */
export function withoutRank({ r: _r, 'adapter.r': _rank, 'adapter.lora_alpha': option, ...rest }: Settings): Settings {
  return option === undefined ? rest : { ...rest, lora_alpha: option };
}

/** How alpha follows the rank in all of the runs; undefined where it does not, or is written alike anyway. */
function followedRank(runs: readonly Settled[]): string | undefined {
  const written = new Set(runs.map(({ settings }) => JSON.stringify(withoutRank(settings)['lora_alpha'])));
  const pairs = runs.map(
    ({ config }) =>
      [rankOf(config) ?? NaN, (config['adapter'] as { lora_alpha?: unknown }).lora_alpha as number] as const,
  );
  if (written.size < 2 || new Set(pairs.map(([rank]) => rank)).size < 2) return undefined;
  const factor = (of: (rank: number) => number): number | undefined => {
    const [first = NaN, ...others] = pairs.map(([rank, alpha]) => alpha / of(rank));
    return others.every((other) => Math.abs(other - first) <= 1e-9 * first) ? Number(first.toPrecision(6)) : undefined;
  };
  const [linear, root] = [factor((rank) => rank), factor(Math.sqrt)];
  const text = (value: number, kind: string): string => `${value === 1 ? '' : value}${kind}`;
  return linear !== undefined ? text(linear, 'r') : root !== undefined ? text(root, 'sqrt') : undefined;
}
