import * as tf from '@tensorflow/tfjs-core';
import type { Decoder } from '../../model/decoder.js';
import { FrozenEmbedding } from '../../model/embedding.js';
import { FrozenHead } from '../../model/head.js';
import { FrozenLinear } from '../../model/linear.js';
import { variableFrom } from '../../model/variable.js';
import { Random } from '../../random.js';
import type { AdapterParameter } from '../adapter.js';
import { decomposition, placeholder } from './init/decompose.js';
import { Magnitude } from './dora.js';
import { loraKey, magnitudeKey, tokenRowsKey } from './tensor-shapes.js';
import { decomposes, initialA, initialEmbeddingB } from './init/random.js';
import { embeddingSlot, headSlot, linearSlot, trainedCopy } from './module-copies.js';
import { LoraEmbedding } from './embedding.js';
import { AdaptedHead } from './head.js';
import type { LoraLayout, LoraUpdate, TrainedTokenRows } from './layout.js';
import { LoraLinear, type LoraStart } from './linear.js';
import { releaseModule, moduleInSlot, type AdaptedModule } from './lora-adapter.js';
import { TrainedTokens } from './trained-tokens.js';
import { isPissa, plainForms } from './plain-form.js';
import type { LoraInit } from './options.js';
import type { LoraConfig } from './config.js';

/** Where the values of an adapter come from. A fresh one without a seed is for its sizes alone: nothing is drawn. */
export type LoraValues =
  | { readonly kind: 'fresh'; readonly seed: number | undefined }
  | { readonly kind: 'saved'; readonly values: (key: string) => Float32Array };

/** Learning rates of LoRA+ beside the run's. */
export interface LoraRates {
  /** Factor for B. */
  readonly ratio: number;
  /** That of an adapted embedding's A and B; undefined: the run's. */
  readonly embedding?: number | undefined;
}

/** Everything that an adapter consists of, on the device but not yet attached. */
export function adaptedModules(
  decoder: Decoder,
  config: LoraConfig,
  layout: LoraLayout,
  values: LoraValues,
  rates: LoraRates,
): AdaptedModule[] {
  const maker = new ModuleBuilder(decoder, config, values, rates);
  const copyValues = (key: string): Float32Array | undefined =>
    values.kind === 'saved' ? values.values(key) : undefined;
  const made: AdaptedModule[] = [];
  try {
    layout.updates.forEach((update, index) =>
      made.push(update.kind === 'embedding' ? maker.embedding(update) : maker.linear(update, index)),
    );
    for (const copy of layout.copies) made.push(trainedCopy(decoder, copy, copyValues));
    made.push(...maker.rows(layout.rows));
    return made;
  } catch (error) {
    for (const module of made) releaseModule(module);
    throw error;
  }
}

class ModuleBuilder {
  constructor(
    private readonly decoder: Decoder,
    private readonly config: LoraConfig,
    private readonly values: LoraValues,
    private readonly rates: LoraRates,
  ) {}

  /** An update of a linear layer, or of the output layer. */
  linear(update: LoraUpdate, index: number): AdaptedModule {
    const { module, kind, rank, inFeatures, outFeatures, scale } = update;
    const { decoder, config, values } = this;
    const base = kind === 'head' ? headLayer(decoder) : frozenLinear(decoder, module);
    const init = config.initLoraWeights as LoraInit;
    const a = this.matrix(
      loraKey(module, 'A'),
      [rank, inFeatures],
      decomposes(init) ? undefined : (random) => initialA(rank, inFeatures, init, random),
    );
    // PEFT's `false` is for tests: both are drawn, and the adapter changes the model from the start.
    const b = this.matrix(
      loraKey(module, 'B'),
      [outFeatures, rank],
      init === false ? (random) => initialA(outFeatures, rank, true, random) : undefined,
    );
    const magnitude = this.magnitude(update);
    const planned = values.kind === 'fresh' && values.seed === undefined;
    const start: LoraStart = {
      fresh: values.kind === 'fresh',
      decompose: !decomposes(init) ? undefined : (layer) => decomposition(layer, decoder, config, { rank, scale }),
    };
    const layer = new LoraLinear(base, a, b, scale, config.loraDropout, index, magnitude, start);
    // The plan of a run counts what `initialize` will make.
    if (planned && decomposes(init)) layer.weight = placeholder(base.weight, init);
    const parameters = this.parameters(update, a, b, magnitude, isPissa(config) ? plainForms(layer) : undefined);
    const more = { initialize: () => layer.initialize(), dispose: () => layer.dispose() };
    if (kind === 'linear') return moduleInSlot(module, linearSlot(decoder, module), layer, parameters, more);
    const head = new AdaptedHead(
      module,
      outFeatures,
      parameters.map(({ variable }) => variable),
      (hidden, context) => layer.forward(hidden, context),
    );
    return moduleInSlot(module, headSlot(decoder), head, parameters, more);
  }

  embedding(update: LoraUpdate): AdaptedModule {
    const { module, kind, rank, inFeatures, outFeatures, scale } = update;
    const { decoder } = this;
    if (!(decoder.embedding instanceof FrozenEmbedding)) throw carries(module);
    const a = this.matrix(loraKey(module, 'A', kind), [rank, inFeatures], undefined);
    const b = this.matrix(loraKey(module, 'B', kind), [outFeatures, rank], (random) =>
      initialEmbeddingB(rank, outFeatures, random),
    );
    const magnitude = this.magnitude(update);
    const layer = new LoraEmbedding(decoder.embedding, a, b, scale, magnitude, this.values.kind === 'fresh');
    const more = { initialize: () => layer.initialize(), dispose: () => layer.dispose() };
    return moduleInSlot(module, embeddingSlot(decoder), layer, this.parameters(update, a, b, magnitude), more);
  }

  /** The trained rows of embedding and output layer; of a tied model they are the same ones. */
  rows(rows: readonly TrainedTokenRows[]): AdaptedModule[] {
    const { decoder } = this;
    const made = new Map<string, TrainedTokens>();
    return rows.map(({ module, kind, indices }) => {
      const tied = kind === 'head' && decoder.config.tiedHead ? made.get('embedding') : undefined;
      const trained = tied ?? this.trainedRows(module, kind, indices);
      made.set(kind, trained);
      const parameters = tied === undefined ? [{ key: tokenRowsKey(module), variable: trained.values }] : [];
      const more = { dispose: () => trained.dispose() };
      if (kind === 'embedding')
        return moduleInSlot(module, embeddingSlot(decoder), trained.embed(decoder.embedding), parameters, more);
      const head = new AdaptedHead(module, trained.size, [trained.values], trained.scores(headOf(decoder)));
      return moduleInSlot(module, headSlot(decoder), head, parameters, more);
    });
  }

  private trainedRows(module: string, kind: TrainedTokenRows['kind'], indices: readonly number[]): TrainedTokens {
    const { decoder, values } = this;
    const table = kind === 'embedding' ? decoder.weights.embedding : tableOf(headOf(decoder));
    const [vocab, hidden] = table.shape;
    const variable = variableFrom<tf.Rank.R2>(
      values.kind === 'saved'
        ? tf.tensor2d(values.values(tokenRowsKey(module)), [indices.length, hidden])
        : tf.zeros([indices.length, hidden]),
    );
    const rows = new TrainedTokens(variable, indices, vocab);
    if (values.kind === 'fresh') tf.tidy(() => variable.assign(rows.fromBase(table)));
    return rows;
  }

  /** Saved values, drawn ones, or zeros. */
  private matrix(
    key: string,
    shape: [number, number],
    draw: ((random: Random) => Float32Array) | undefined,
  ): tf.Variable<tf.Rank.R2> {
    const { values } = this;
    if (values.kind === 'saved') return variableFrom(tf.tensor2d(values.values(key), shape));
    // Filled on the device: no values cross over.
    if (draw === undefined || values.seed === undefined) return variableFrom(tf.fill<tf.Rank.R2>(shape, 0));
    return variableFrom(tf.tensor2d(draw(new Random(values.seed, key)), shape));
  }

  private magnitude({ module, magnitude, outFeatures }: LoraUpdate): Magnitude | undefined {
    if (!magnitude) return undefined;
    const { values } = this;
    const made =
      values.kind === 'saved'
        ? tf.tensor1d(values.values(magnitudeKey(module)))
        : tf.fill<tf.Rank.R1>([outFeatures], 0);
    return new Magnitude(variableFrom<tf.Rank.R1>(made), tf.keep(tf.fill<tf.Rank.R1>([outFeatures], 0)));
  }

  /** LoRA+ raises the rate of B, and PEFT that of the magnitudes with it. */
  private parameters(
    { module, kind }: LoraUpdate,
    a: tf.Variable,
    b: tf.Variable,
    magnitude: Magnitude | undefined,
    forms?: ReturnType<typeof plainForms>,
  ): AdapterParameter[] {
    const { ratio, embedding } = this.rates;
    const own = kind === 'embedding' && embedding !== undefined ? { learningRate: embedding } : {};
    const raised = kind === 'embedding' ? own : ratio === 1 ? {} : { learningRateScale: ratio };
    return [
      { key: loraKey(module, 'A', kind), variable: a, ...own, ...(forms === undefined ? {} : { stored: forms.a }) },
      { key: loraKey(module, 'B', kind), variable: b, ...raised, ...(forms === undefined ? {} : { stored: forms.b }) },
      ...(magnitude === undefined ? [] : [{ key: magnitudeKey(module), variable: magnitude.variable, ...raised }]),
    ];
  }
}

function frozenLinear(decoder: Decoder, name: string): FrozenLinear {
  const layer = decoder.linears.get(name);
  if (!(layer instanceof FrozenLinear)) throw carries(name);
  return layer;
}

function headOf({ head }: Decoder): FrozenHead {
  if (!(head instanceof FrozenHead)) throw carries(head.name);
  return head;
}

/** The output layer as a linear one. */
function headLayer(decoder: Decoder): FrozenLinear {
  const { name, weight, bias } = headOf(decoder);
  return new FrozenLinear(name, weight, bias);
}

function tableOf({ weight }: FrozenHead): tf.Tensor2D {
  if (weight.kind !== 'dense') throw new Error('the output layer is always dense');
  return weight.values;
}

function carries(module: string): Error {
  return new Error(`${module} already carries an adapter: detach it first`);
}
