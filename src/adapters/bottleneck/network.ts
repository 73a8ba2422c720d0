import * as tf from '@tensorflow/tfjs-core';
import { gelu, linear, type Activation } from '../../../kernels/index.js';
import type { SublayerAdapter } from '../../model/decoder.js';
import { Random } from '../../random.js';
import type { AdapterParameter } from '../adapter.js';
import { MODULE_PREFIX } from '../peft/tensors.js';

/** `[out, in]` and `[out]` of each tensor of one network, by the ends of the keys. */
export function networkShapes(hidden: number, size: number): Readonly<Record<string, readonly number[]>> {
  return {
    'adapter_down.weight': [size, hidden],
    'adapter_down.bias': [size],
    'adapter_up.weight': [hidden, size],
    'adapter_up.bias': [hidden],
  };
}

/**
 * A network behind one sublayer: y + W_up·f(W_down·y + b_down) + b_up, before y is added to the residual stream.
 * Houlsby et al. 2019, arXiv:1902.00751; Pfeiffer et al. 2021, arXiv:2005.00247.
 */
export class Bottleneck {
  readonly parameters: readonly AdapterParameter[];

  constructor(
    readonly path: string,
    readonly layer: number,
    private readonly activation: Activation,
    private readonly variables: ReadonlyMap<string, tf.Variable>,
  ) {
    this.parameters = [...variables].map(([name, variable]) => ({ key: `${MODULE_PREFIX}${path}.${name}`, variable }));
  }

  readonly forward: SublayerAdapter = (y) =>
    tf.tidy(() => tf.add(y, this.project('up', gelu(this.project('down', y), this.activation))));

  private project(which: 'down' | 'up', x: tf.Tensor2D): tf.Tensor2D {
    const weight = this.variables.get(`adapter_${which}.weight`) as unknown as tf.Tensor2D;
    const bias = this.variables.get(`adapter_${which}.bias`) as unknown as tf.Tensor1D;
    return linear(x, { kind: 'dense', shape: weight.shape, values: weight }, { bias });
  }

  /** W_down uniform in ±1/√hidden and W_up zero: at first the network adds nothing. */
  initialize(seed: number): void {
    const { key, variable } = this.parameters[0] as AdapterParameter;
    const random = new Random(seed, key);
    const bound = 1 / Math.sqrt(variable.shape[1] as number);
    const values = Float32Array.from({ length: variable.size }, () => (2 * random.uniform() - 1) * bound);
    tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
  }
}
