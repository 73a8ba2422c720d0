import * as tf from '@tensorflow/tfjs-core';
import { dropout, linear } from '../../kernels/index.js';
import { FormatError } from '../errors.js';
import { toFloat32, type TensorBytes } from '../io/safetensors.js';
import type { Decoder } from '../model/decoder.js';
import { FrozenLinear, type ForwardContext, type Linear } from '../model/linear.js';
import { variableFrom } from '../model/variable.js';
import { Random } from '../random.js';
import type { Adapter, AdapterMethodDefinition, AdapterParameter } from './adapter.js';
import { linearSizes, loraKey, loraMismatches } from './fit.js';
import type { AdapterOptions } from './options.js';
import { loraScale, parsePeftConfig, patternValue, serializePeftConfig, type PeftConfig } from './peft-config.js';
import { matchTargets, moduleSuffixes } from './targets.js';

/**
 * A frozen linear layer with a low-rank update: y = x·Wᵀ + b + s·(dropout(x)·Aᵀ)·Bᵀ, A `[r, in]`, B `[out, r]`, s = α/r (or α/√r).
 * Hu et al. 2021, arXiv:2106.09685.
 */
export class LoraLinear implements Linear {
  constructor(
    readonly base: FrozenLinear,
    readonly a: tf.Variable<tf.Rank.R2>,
    readonly b: tf.Variable<tf.Rank.R2>,
    readonly scale: number,
    private readonly dropoutRate: number,
    /** Position among the adapted layers: gives each its own dropout mask. */
    private readonly index: number,
  ) {}

  get name(): string {
    return this.base.name;
  }

  get inFeatures(): number {
    return this.base.inFeatures;
  }

  get outFeatures(): number {
    return this.base.outFeatures;
  }

  forward(x: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    const lora = { a: this.a as tf.Tensor2D, b: this.b as tf.Tensor2D, scale: this.scale };
    const bias = this.base.bias === undefined ? {} : { bias: this.base.bias };
    if (this.dropoutRate === 0 || context.dropoutSeed === undefined) return linear(x, this.base.weight, { ...bias, lora });
    const seed = (context.dropoutSeed ^ Math.imul(this.index + 1, 0x9e3779b1)) >>> 0;
    return tf.tidy(() => linear(x, this.base.weight, { ...bias, lora, loraInput: dropout(x, this.dropoutRate, seed) }));
  }
}

class LoraAdapter implements Adapter {
  readonly parameters: readonly AdapterParameter[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  readonly config: PeftConfig;

  constructor(
    private readonly decoder: Decoder,
    config: PeftConfig,
    private readonly layers: readonly LoraLinear[],
  ) {
    this.config = decoder.config.family.weightLayout === 'conv1d' ? { ...config, fanInFanOut: true } : config;
    this.parameters = layers.flatMap((layer) => [
      { key: loraKey(layer.name, 'A'), variable: layer.a },
      { key: loraKey(layer.name, 'B'), variable: layer.b },
    ]);
    const { modules } = decoder.config.family;
    this.layerParameters = Array.from({ length: decoder.config.numLayers }, (_, i) =>
      layers.filter((layer) => layer.name.startsWith(`${modules.layer(i)}.`)).flatMap((layer) => [layer.a, layer.b]),
    );
    this.attach();
  }

  attach(): void {
    for (const layer of this.layers) this.decoder.linears.set(layer.name, layer);
  }

  detach(): void {
    for (const layer of this.layers) {
      if (this.decoder.linears.get(layer.name) === layer) this.decoder.linears.set(layer.name, layer.base);
    }
  }

  dispose(): void {
    this.detach();
    for (const { variable } of this.parameters) variable.dispose();
  }
}

export const lora = {
  peftType: 'LORA',
  parseConfig: parsePeftConfig,
  serializeConfig: serializePeftConfig,
  optionsOf: (config) => ({ r: config.r, target_modules: config.targetModules }),
  describe: (options) => `rank ${options.r}`,
  mismatches: (model, config, tensors) => loraMismatches(linearSizes(model), config, tensors),

  create(decoder, options, seed) {
    const names = [...decoder.linears.keys()];
    const targets = matchTargets(names, options.target_modules);
    const config: PeftConfig = {
      peftType: 'LORA',
      r: options.r,
      loraAlpha: options.lora_alpha,
      loraDropout: options.lora_dropout,
      targetModules: options.target_modules === 'all-linear' ? moduleSuffixes(names).sort() : options.target_modules,
      useRslora: options.use_rslora,
      rankPattern: {},
      alphaPattern: {},
      initLoraWeights: options.init_lora_weights,
      baseModel: undefined,
      revision: undefined,
    };
    const layers = targets.map((name, index) => {
      const base = frozen(decoder, name);
      const a = initialA(options.r, base.inFeatures, options.init_lora_weights, new Random(seed, loraKey(name, 'A')));
      return loraLayer(base, config, index, a, new Float32Array(base.outFeatures * options.r));
    });
    return new LoraAdapter(decoder, config, layers);
  },

  load(decoder, config, tensors, name, options = {}) {
    const targets = matchTargets([...decoder.linears.keys()], config.targetModules);
    checkTensors(decoder, config, tensors, name);
    const merged = options.dropout === undefined ? config : { ...config, loraDropout: options.dropout };
    // All are read before any goes to the device, so that a broken one leaves nothing behind.
    const values = targets.map((target) => {
      const read = (part: 'A' | 'B'): Float32Array => {
        const key = loraKey(target, part);
        return finite(toFloat32(tensors.get(key) as TensorBytes, `${name}: ${key}`), `${name}: ${key}`);
      };
      return { base: frozen(decoder, target), a: read('A'), b: read('B') };
    });
    const layers = values.map(({ base, a, b }, index) => loraLayer(base, merged, index, a, b));
    return new LoraAdapter(decoder, merged, layers);
  },
} satisfies AdapterMethodDefinition<PeftConfig, AdapterOptions>;

function loraLayer(base: FrozenLinear, config: PeftConfig, index: number, a: Float32Array, b: Float32Array): LoraLinear {
  const rank = patternValue(config.rankPattern, base.name, config.r);
  const alpha = patternValue(config.alphaPattern, base.name, config.loraAlpha);
  return new LoraLinear(
    base,
    variableFrom(tf.tensor2d(a, [rank, base.inFeatures])),
    variableFrom(tf.tensor2d(b, [base.outFeatures, rank])),
    loraScale(rank, alpha, config.useRslora),
    config.loraDropout,
    index,
  );
}

/** PEFT's default (kaiming_uniform with a = √5) is uniform in ±1/√in; `gaussian` is normal with deviation 1/r. */
function initialA(rank: number, inFeatures: number, init: boolean | 'gaussian', random: Random): Float32Array {
  const bound = 1 / Math.sqrt(inFeatures);
  const draw = init === 'gaussian' ? () => random.normal() / rank : () => (2 * random.uniform() - 1) * bound;
  return Float32Array.from({ length: rank * inFeatures }, draw);
}

function frozen(decoder: Decoder, name: string): FrozenLinear {
  const layer = decoder.linears.get(name);
  if (!(layer instanceof FrozenLinear)) throw new Error(`${name} already carries an adapter: detach it first`);
  return layer;
}

function checkTensors(decoder: Decoder, config: PeftConfig, tensors: ReadonlyMap<string, TensorBytes>, name: string): void {
  const problems = loraMismatches(decoder.linears, config, tensors);
  if (problems.length > 0) throw new FormatError(`${name}: the adapter does not fit the model: ${problems.join('; ')}`);
}

/** Kernels may let a NaN pass unseen (attention gives it no weight): it is refused where it comes in. */
function finite(values: Float32Array, where: string): Float32Array {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw new FormatError(`${where}: element ${at} is ${values[at]}, allowed finite numbers`);
  return values;
}
