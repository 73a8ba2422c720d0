import { definitionOf } from '../../adapters/registry.js';
import type { RunConfig } from '../../config/schema.js';
import { openDevice } from '../../device/open.js';
import { planFor } from '../../finetune/options.js';
import { readModelConfig } from '../../model/load.js';
import { nodeHost, openDirectory } from '../../node.js';
import type { MemoryParts, MemoryPlan } from '../../plan/settings.js';
import { describeRemedies, requireFit, type RunMemory } from '../../plan/plan-run.js';
import { formatBytes } from '../../format.js';
import { describeDevice, tell } from '../options.js';
import { describeModel } from '../view/describe.js';
import { formatTable } from '../view/table.js';
import { print } from '../view/terminal.js';

/**
 * Prints the memory of a run as asked for and with `gradient_checkpointing` the other way, and whether it fits.
 * @throws ConfigError when it does not fit.
 */
export async function runPlan(config: RunConfig, json: boolean): Promise<void> {
  const directory = await openDirectory(config.model, { revision: config.model_revision, onMessage: tell });
  const { init_from: named, ...adapter } = config.adapter;
  const initFrom = named === undefined ? undefined : await openDirectory(named);
  const model = await readModelConfig(directory);
  const device = await openDevice(config.device, nodeHost);
  try {
    const planned = async (checkpointing: boolean): Promise<RunMemory> => {
      const training = { ...config.training, gradient_checkpointing: checkpointing };
      return planFor({ config: { ...config, training }, model, initFrom, device, host: nodeHost });
    };
    const asked = await planned(config.training.gradient_checkpointing);
    const other = await planned(!config.training.gradient_checkpointing);
    const [without, checkpointed] = config.training.gradient_checkpointing ? [other, asked] : [asked, other];
    if (json) {
      print(`${JSON.stringify(toJson(asked, without, checkpointed, device.name))}\n`);
    } else {
      const { settings } = asked.plan;
      tell(describeDevice(device));
      tell(`model: ${config.model}: ${describeModel(model)}`);
      const micro = settings.accumulation === 1 ? '' : `, ${settings.accumulation} micro-batches a step`;
      tell(
        `batches of ${settings.batch} × ${settings.seq} tokens${micro}, ${adapter.method} of ${definitionOf(adapter.method).describe(settings.adapter)}, ${settings.optim}`,
      );
      print(renderPlans(without.plan, checkpointed.plan));
      print(renderVerdict(asked));
    }
    requireFit(asked, true);
  } finally {
    await device.close();
  }
}

const PART_NAMES: readonly (readonly [keyof MemoryParts, string])[] = [
  ['quantizedWeights', 'linear weights in 4 bits'],
  ['denseWeights', 'linear weights in float32'],
  ['embeddingAndHead', 'embedding and head'],
  ['smallTensors', 'norms, biases, tables'],
  ['adapters', 'adapters'],
  ['optimizerState', 'optimiser state'],
  ['gradients', 'gradients'],
  ['activations', 'activations kept'],
  ['workspace', 'workspace'],
];

function renderPlans(without: MemoryPlan, checkpointed: MemoryPlan): string {
  const row = (name: string, value: (plan: MemoryPlan) => number): string[] => [
    name,
    ...[without, checkpointed].map((plan) => formatBytes(value(plan))),
  ];
  const parts = PART_NAMES.filter(([part]) => without.parts[part] > 0 || checkpointed.parts[part] > 0);
  const rows = [
    ...parts.map(([part, name]) => row(name, (plan) => plan.parts[part])),
    row('at the fullest moment', (plan) => plan.total),
    row('kept by a forward pass', (plan) => plan.keptActivations),
    row('logits of a chunk', (plan) => plan.headChunk),
    ...(without.hostBytes > 0 ? [row('moments in host memory', (plan) => plan.hostBytes)] : []),
  ];
  const right = (title: string): { title: string; align: 'right' } => ({ title, align: 'right' });
  return formatTable(['memory', right('without checkpointing'), right('with')], rows);
}

function renderVerdict({ plan, limits, obstacles, concerns, remedies }: RunMemory): string {
  const lines = concerns.map((concern) => `note: ${concern}`);
  if (obstacles.length > 0)
    return [...lines, `does not fit: ${obstacles.join('; ')}`, describeRemedies(remedies), ''].join('\n');
  const room =
    limits.memory === undefined
      ? 'as far as the device tells its limits'
      : `into ${formatBytes(limits.memory.bytes)} (${limits.memory.what})`;
  return [...lines, `fits: ${formatBytes(plan.total)} ${room}`, ''].join('\n');
}

function toJson(
  asked: RunMemory,
  without: RunMemory,
  checkpointed: RunMemory,
  device: string,
): Record<string, unknown> {
  const of = ({ plan }: RunMemory): Record<string, unknown> => ({
    parts: plan.parts,
    total: plan.total,
    kept_activations: plan.keptActivations,
    head_chunk: plan.headChunk,
    largest_tensor: plan.largestTransient,
    largest_weight: plan.largestWeight,
    host: plan.hostBytes,
  });
  return {
    device,
    fits: asked.obstacles.length === 0,
    obstacles: asked.obstacles,
    concerns: asked.concerns,
    remedies: asked.remedies.map(({ changes, plan }) => ({ changes, total: plan.total })),
    limits: { memory: asked.limits.memory ?? null, tensor: asked.limits.tensor ?? null },
    without_checkpointing: of(without),
    with_checkpointing: of(checkpointed),
  };
}
