import * as tf from '@tensorflow/tfjs-core';
import {
  clipScale,
  flatLayout,
  globalNorm,
  headChunkRows,
  MOST_FLAT_BYTES,
  pullback,
  valueAndGradients,
  withDryRun,
  type DryPeak,
  type DryRunBackend,
  type FrozenWeight,
} from '../../kernels/index.js';
import { definitionOf } from '../adapters/registry.js';
import type { Decoder } from '../model/decoder.js';
import {
  objectiveSums,
  type MicroBatch,
  type Objective,
  type ObjectiveContext,
} from '../train/objectives/objective.js';
import { slotBytes, type Optimizer } from '../train/optimizers/optimizer.js';
import { pagesOf } from '../train/optimizers/paged.js';
import { ResidentOptimizer } from '../train/optimizers/resident.js';
import { lossAndGradients } from '../train/step.js';
import { objectiveOf, optimizerOf, type MemoryParts, type MemoryPlan, type PlanSettings } from './settings.js';
import { outlineAdapter, outlineDecoder, storedQuantization, WEIGHT_TAGS } from './shape-only-decoder.js';

const TAGS = {
  adapters: 'adapters',
  gradients: 'gradients',
  optimizer: 'optimizer',
  activations: 'activations',
  workspace: 'workspace',
} as const;

/** One optimiser step on a backend whose tensors have sizes and no values. */
export function runDry(settings: PlanSettings): MemoryPlan {
  return withDryRun(
    settings.backend,
    (backend) => {
      const { model, adapter: options, batch, seq } = settings;
      const made: { dispose(): void }[] = [];
      const own = <T extends { dispose(): void }>(value: T): T => (made.push(value), value);
      try {
        const decoder = own(
          outlineDecoder(
            backend,
            model,
            storedQuantization(model, settings.quantization),
            definitionOf(options.method).trainable?.(model, options),
          ),
        );
        const largestWeight = largestWeightOf(decoder);
        backend.tag = TAGS.adapters;
        const adapter = own(outlineAdapter(decoder, options));
        const { paged, rule } = optimizerOf(settings);
        const slots = adapter.parameters.map((p) => slotBytes(rule.slots, p.shape));
        const allSlots = slots.reduce((sum, bytes) => sum + bytes, 0);
        backend.tag = TAGS.optimizer;
        const optimizer = own(paged ? pagedOutline(backend, slots) : new ResidentOptimizer(rule, adapter.parameters));
        // On webgpu gradients are copied to where they lie in one (ReplayedAccumulator in train/gradients), and stay there.
        const flat = flatLayout(adapter.parameters.map((p) => p.shape));
        backend.tag = TAGS.gradients;
        if (settings.backend === 'webgpu' && 4 * flat.size <= MOST_FLAT_BYTES)
          own(tf.zeros([Math.min(2, settings.accumulation) * flat.size]));
        const batches = Array.from({ length: Math.min(2, settings.accumulation) }, () => fullBatch(batch, seq));
        const objective = objectiveOf(settings);
        const lossOptions = (): ObjectiveContext => {
          backend.restart();
          return {
            dropoutSeed: 1,
            ...(settings.gradientCheckpointing ? { gradientCheckpointing: adapter.layerParameters } : {}),
          };
        };
        const inputs = objective.inputs(decoder, batches[0] as MicroBatch, { training: true, fewShapes: false });
        const loss = (): tf.Tensor => tf.mul(objectiveSums(objective, decoder, inputs, lossOptions()), 1);
        // Once for what stays, such as rotary tables; once to see what the forward pass keeps, and what is left in the
        // end.
        backend.tag = WEIGHT_TAGS.small;
        pullback(loss, adapter.parameters).dispose();
        backend.tag = TAGS.workspace;
        const recorded = pullback(loss, adapter.parameters);
        const kept = backend.alive(TAGS.workspace);
        const keptBytes = backend.bytesOf(TAGS.workspace);
        recorded.dispose();
        const { value, gradients } = valueAndGradients(loss, adapter.parameters);
        const left = backend.alive(TAGS.workspace);
        tf.dispose([value, gradients]);

        const tags = [
          ...kept.map((order) => [order, TAGS.activations] as const),
          ...left.map((order) => [order, TAGS.gradients] as const),
        ];
        backend.tagsByOrder = new Map(tags);
        const step = stepPeak(backend, decoder, adapter.parameters, batches, lossOptions, objective, optimizer);
        return {
          settings,
          parts: partsOf(step.peak),
          total: step.peak.bytes,
          keptActivations: keptBytes,
          headChunk: 4 * model.vocabSize * Math.min(batch * (seq - 1), headChunkRows(model.vocabSize)),
          largestTransient: step.largest,
          largestWeight,
          trainedBytes: adapter.parameters.reduce((sum, { size }) => sum + 4 * size, 0),
          slotBytes: allSlots,
          hostBytes: paged ? allSlots : 0,
        };
      } finally {
        for (const value of made.reverse()) value.dispose();
      }
    },
    settings.threads,
  );
}

/** As `trainStep` does it, which cannot be called where nothing may be waited for. */
function stepPeak(
  backend: DryRunBackend,
  decoder: Decoder,
  parameters: readonly tf.Variable[],
  batches: readonly MicroBatch[],
  lossOptions: () => ObjectiveContext,
  objective: Objective,
  optimizer: Stepper,
): { peak: DryPeak; largest: number } {
  backend.restart();
  backend.resetPeak();
  const { loss, metrics, gradients } = lossAndGradients(decoder, parameters, batches, lossOptions, objective);
  const norm = globalNorm(gradients);
  const scale = clipScale(norm, 1);
  void optimizer.step(gradients, 1, scale);
  tf.dispose([loss, gradients, norm, scale]);
  metrics?.dispose();
  return { peak: backend.peak, largest: backend.largest.bytes };
}

function partsOf({ byTag }: DryPeak): MemoryParts {
  const of = (tag: string): number => byTag.get(tag) ?? 0;
  return {
    quantizedWeights: of(WEIGHT_TAGS.quantized),
    denseWeights: of(WEIGHT_TAGS.dense),
    embeddingAndHead: of(WEIGHT_TAGS.embedding),
    smallTensors: of(WEIGHT_TAGS.small),
    adapters: of(TAGS.adapters),
    gradients: of(TAGS.gradients),
    optimizerState: of(TAGS.optimizer),
    activations: of(TAGS.activations),
    workspace: of(TAGS.workspace),
  };
}

/** The part of an optimiser that takes memory. */
type Stepper = Pick<Optimizer, 'step' | 'dispose'>;

/** What PagedOptimizer has on the device, one page after another. */
function pagedOutline(backend: DryRunBackend, slots: readonly number[]): Stepper {
  return {
    step() {
      for (const page of pagesOf(slots)) backend.scratch(page.reduce((sum, i) => sum + (slots[i] as number), 0));
    },
    dispose: () => undefined,
  };
}

function fullBatch(batch: number, seq: number): MicroBatch {
  return {
    inputIds: new Int32Array(batch * seq),
    labels: new Int32Array(batch * seq),
    batch,
    seq,
    supervisedCount: batch * (seq - 1),
  };
}

function largestWeightOf(decoder: Decoder): { name: string; bytes: number } {
  const { embedding, linears, head } = decoder.weights;
  const { modules } = decoder.config.family;
  let largest = { name: `${modules.embedding}.weight`, bytes: 4 * embedding.size };
  const consider = (name: string, weight: FrozenWeight): void => {
    const bytes = 4 * (weight.kind === 'dense' ? weight.values : weight.packed).size;
    if (bytes > largest.bytes) largest = { name: `${name}.weight`, bytes };
  };
  for (const [name, { weight }] of linears) consider(name, weight);
  if (head !== undefined) consider(modules.head, head);
  return largest;
}
