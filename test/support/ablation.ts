import type { Settings } from '../../src/ablation/config.js';
import type { RunResult } from '../../src/ablation/result.js';

/**
 * The result of a run of LoRA that was made with these settings; rank and alpha of its config are theirs unless given.
 */
export function resultOf(
  settings: Settings,
  changes: Partial<RunResult> & { readonly alpha?: number } = {},
): RunResult {
  const { alpha, ...rest } = changes;
  const seed = rest.seed ?? 1;
  return {
    format: 1,
    id: `${JSON.stringify(settings)}-${seed}`,
    settings: { ...settings },
    seed,
    config: { adapter: { method: 'lora', r: settings['r'] ?? 8, lora_alpha: alpha ?? settings['lora_alpha'] ?? 16 } },
    files: {},
    backend: 'wasm',
    evaluation: '',
    validation_loss: 1,
    train_loss: 1,
    steps: 1,
    total_steps: 1,
    stopped_early: false,
    train_rows: 1,
    tokens: 1,
    metrics: {},
    forgetting: {},
    answers: [],
    trainable_parameters: 1000,
    adapter_bytes: 4000,
    losses: [],
    validation: [],
    ...rest,
  };
}
