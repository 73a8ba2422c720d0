import { readModelConfig } from '../model/load.js';
import { loadBase, tokenizerOf } from '../finetune/load.js';
import { baseKeyOf } from '../finetune/options.js';
import type { CheckedRequest } from '../finetune/request.js';
import type { SharedResources } from '../finetune/shared-resources.js';
import type { AblationRequest } from './request.js';
import type { Baseline } from './result.js';
import { shortHash, type AblationRun } from './runs.js';

/** Metrics of the base models of an ablation, each measured once. */
export class Baselines {
  readonly found: Record<string, Baseline> = {};

  constructor(private readonly request: Pick<AblationRequest, 'evaluation' | 'store' | 'callbacks'>) {}

  /** SHA-256 of what models are measured by; empty where nothing is. */
  get evaluationHash(): string {
    return this.request.evaluation?.hash ?? '';
  }

  /** How long the measuring of a run's base took. */
  seconds(run: AblationRun): number {
    return this.found[baselineKey(run)]?.seconds ?? 0;
  }

  /** The baseline of a finished run, from the store. */
  async recall(run: AblationRun): Promise<Baseline | undefined> {
    const key = baselineKey(run);
    const baseline = this.found[key] ?? (await this.request.store.baseline(key));
    if (baseline?.evaluation !== this.evaluationHash) return undefined;
    this.found[key] = baseline;
    return baseline;
  }

  /**
   * Of a run's base; measured now unless it is known. Undefined without an evaluation, and when a stop was asked for
   * meanwhile.
   */
  async of(run: AblationRun, request: CheckedRequest, shared: SharedResources): Promise<Baseline | undefined> {
    const { evaluation, store, callbacks } = this.request;
    if (evaluation === undefined) return undefined;
    const key = baselineKey(run);
    const told = this.found[key] !== undefined;
    let baseline = await this.recall(run);
    if (baseline === undefined) {
      const decoder = await loadBase(request, await readModelConfig(request.model), shared);
      const started = performance.now();
      const measured = await shared.device.guard(
        evaluation.evaluate(decoder, await tokenizerOf(request.model), callbacks?.shouldStop),
      );
      if (measured === undefined) return undefined;
      baseline = {
        metrics: measured.metrics,
        evaluation: evaluation.hash,
        seconds: (performance.now() - started) / 1000,
      };
      await store.saveBaseline(key, baseline);
      this.found[key] = baseline;
    }
    if (!told) callbacks?.onBaseline?.(key, baseline);
    return baseline;
  }
}

/** Name of a base model's metrics: what it is, and how it is held. */
export function baselineKey({ config }: AblationRun): string {
  const { load_in_4bit: packed, bnb_4bit_quant_type: type } = config.quantization;
  return `${packed ? type : 'float'}-${shortHash(baseKeyOf(config))}`;
}
