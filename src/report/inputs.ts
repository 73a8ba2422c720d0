import * as z from 'zod';

// Of each file as much as a report needs: what else is in it may change.

// NaN is null in JSON.
const numbers = z.record(z.string(), z.number().nullable());
const measured = z
  .number()
  .nullable()
  .transform((value) => value ?? NaN);

/** A line of metrics.jsonl: that of a step, a validation or the test. */
export const metricsLine = z.record(z.string(), z.union([z.number(), z.string(), z.boolean(), z.null()]));
export type MetricsLine = z.infer<typeof metricsLine>;

/** training_record.json. */
export const recordSchema = z.object({
  versions: z.record(z.string(), z.string()).default({}),
  device: z.string().optional(),
  base: z.object({ name: z.string(), revision: z.string().nullish(), model_type: z.string().optional() }).optional(),
  data: z
    .array(
      z.object({
        part: z.string(),
        rows: z.number(),
        tokens: z.number().nullish(),
        supervised_tokens: z.number().nullish(),
      }),
    )
    .default([]),
  parameters: z.object({ trainable: z.number(), total: z.number() }).optional(),
  results: z.record(z.string(), z.number()).default({}),
  replays: z.array(z.object({ prompt: z.array(z.number()), tokens: z.array(z.number()) })).default([]),
});
export type RecordInput = z.infer<typeof recordSchema>;

/** A run of an ablation. */
const runSchema = z.object({
  id: z.string(),
  settings: z.record(z.string(), z.unknown()).default({}),
  seed: z.number().optional(),
  config: z.record(z.string(), z.unknown()).default({}),
  backend: z.string().optional(),
  validation_loss: z.number().nullable(),
  train_loss: z.number().nullish(),
  metrics: numbers.default({}),
  forgetting: numbers.default({}),
  answers: z
    .array(z.object({ task: z.string(), prompt: z.string(), answer: z.string(), reference: z.string() }))
    .default([]),
  trainable_parameters: z.number().optional(),
  adapter_bytes: z.number().optional(),
  peak_memory_bytes: z.number().nullish(),
  losses: z
    .array(z.object({ step: z.number(), loss: measured, learning_rate: z.number(), grad_norm: measured }))
    .default([]),
  validation: z.array(z.object({ step: z.number(), eval_loss: measured })).default([]),
});
export type RunInput = z.infer<typeof runSchema>;

/** ablation.json. */
export const ablationSchema = z.object({
  version: z.string().optional(),
  runs: z.array(runSchema),
  failed: z.array(z.object({ id: z.string(), error: z.string() })).default([]),
  pending: z.array(z.string()).default([]),
  /** Metrics of the base models, by how they are held. */
  baselines: z.record(z.string(), numbers).default({}),
  summary: z
    .object({
      text: z.array(z.string()).default([]),
      /** By run, the settings that it shares with others that differ in rank. */
      families: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
    })
    .default({ text: [], families: {} }),
  timings: z.record(z.string(), z.object({ seconds: z.number(), tokens_per_second: z.number() })).default({}),
});
export type AblationInput = z.infer<typeof ablationSchema>;

const table = z.array(z.array(z.number()));

/** subspace.json: φ between pairs of adapters, and the singular values of the updates by run and module. */
export const subspaceSchema = z.object({
  pairs: z
    .array(
      z.object({
        first: z.string(),
        second: z.string(),
        ranks: z.tuple([z.number(), z.number()]),
        seeds: z.tuple([z.number(), z.number()]),
        mean: table,
      }),
    )
    .default([]),
  spectra: z.record(z.string(), z.record(z.string(), z.array(z.number()))).default({}),
});
export type SubspaceInput = z.infer<typeof subspaceSchema>;

/** eval.json; `truncated` by model and task. */
export const evalSchema = z.object({
  truncated: z.record(z.string(), z.record(z.string(), z.number())).default({}),
  version: z.string().optional(),
  model: z.string(),
  adapters: z.union([z.string(), z.array(z.string())]).default([]),
  quantize: z.string().nullish(),
  tasks: z.array(z.record(z.string(), z.unknown())).default([]),
  metrics: z.array(
    z.object({
      task: z.string(),
      metric: z.string(),
      items: z.number(),
      retain: z.boolean().default(false),
      lowerIsBetter: z.boolean().default(false),
      values: z.array(
        z.object({
          model: z.string(),
          value: z.number().nullable(),
          low: z.number().nullish(),
          high: z.number().nullish(),
          gain: z.number().nullish(),
        }),
      ),
    }),
  ),
  samples: z
    .array(
      z.object({
        name: z.string(),
        tasks: z.array(
          z.object({
            task: z.string(),
            samples: z.array(z.object({ prompt: z.string(), answer: z.string(), reference: z.string().default('') })),
          }),
        ),
      }),
    )
    .default([]),
});
export type EvalInput = z.infer<typeof evalSchema>;
