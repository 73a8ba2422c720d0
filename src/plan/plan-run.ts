import type { AdapterSettings } from '../adapters/registry.js';
import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import type { ModelConfig } from '../model/config.js';
import type { LoadQuantization } from '../model/load.js';
import type { Objective } from '../train/objectives/objective.js';
import { concerns, obstacles, sizeText, type DeviceLimits } from './limits.js';
import { memoryPlanner } from './memory.js';
import type { MemoryPlan, PlanSettings } from './settings.js';
import { remedies, type Remedy } from './suggestions.js';

export interface RunPlanRequest {
  readonly config: RunConfig;
  readonly model: ModelConfig;
  /** tfjs's name of what computes. */
  readonly backend: string;
  readonly threads?: number | undefined;
  readonly quantization: LoadQuantization | undefined;
  /** Longest row that a batch can have. */
  readonly maxLength: number;
  /** `config.adapter`, with the sizes of an adapter that is gone on from. */
  readonly adapter: AdapterSettings;
  /** In place of that of the config. */
  readonly objective?: Objective | undefined;
  readonly limits: DeviceLimits;
}

/** Whether a run fits its device, and what would make it fit. */
export interface RunMemory {
  readonly plan: MemoryPlan;
  readonly limits: DeviceLimits;
  /** Why it does not fit; empty when it does. */
  readonly obstacles: readonly string[];
  /** What is worth knowing although it fits. */
  readonly concerns: readonly string[];
  /** Only where it does not fit. */
  readonly remedies: readonly Remedy[];
}

export function planSettings({
  config,
  model,
  backend,
  threads,
  quantization,
  maxLength,
  adapter,
  objective,
}: Omit<RunPlanRequest, 'limits'>): PlanSettings {
  return {
    model,
    backend,
    threads,
    quantization,
    adapter,
    batch: config.training.per_device_train_batch_size,
    seq: maxLength,
    accumulation: config.training.gradient_accumulation_steps,
    gradientCheckpointing: config.training.gradient_checkpointing,
    optim: config.training.optim,
    momentum: config.training.momentum,
    objective: objective ?? config.training.objective,
  };
}

/**
 * Plans the memory of a run from its config and the model's config.json alone, for batches whose rows all have
 * `maxLength` tokens.
 */
export function planRun(request: RunPlanRequest): RunMemory {
  const { limits } = request;
  const planner = memoryPlanner();
  const plan = planner(planSettings(request));
  const found = obstacles(plan, limits);
  return {
    plan,
    limits,
    obstacles: found,
    concerns: concerns(plan, limits),
    remedies: found.length === 0 ? [] : remedies(plan.settings, limits, planner),
  };
}

/**
 * @param told the settings that would make it fit have been shown already
 * @throws ConfigError with these settings, when a run does not fit.
 */
export function requireFit({ obstacles: found, remedies: possible }: RunMemory, told = false): void {
  if (found.length === 0) return;
  throw new ConfigError(`this run does not fit: ${found.join('; ')}${told ? '' : `. ${describeRemedies(possible)}`}`);
}

export function describeRemedies(possible: readonly Remedy[]): string {
  if (possible.length === 0) return 'No setting makes it fit: it takes a smaller model or another device';
  const lines = possible.map(({ changes, plan }) => {
    const set = Object.entries(changes).map(([option, value]) => `${option}=${value}`);
    return `  --set ${set.join(' --set ')}  (${sizeText(plan.total)})`;
  });
  return `It would fit with${possible.length > 1 ? ' one of' : ''}\n${lines.join('\n')}`;
}
