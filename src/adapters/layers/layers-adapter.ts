import * as tf from '@tensorflow/tfjs-core';
import { ConfigError } from '../../errors.js';
import type { TensorBytes } from '../../io/safetensors.js';
import type { ModelConfig } from '../../model/config.js';
import type { Decoder } from '../../model/decoder.js';
import { storedForms, storedTensor, type StoredForm } from '../../model/stored.js';
import { trainedTensors } from '../../model/trained.js';
import type { Adapter, AdapterParameter, TensorShapes } from '../adapter.js';
import type { FullConfig, LayersConfig } from './config.js';
import { renamedKeys } from '../peft/module-keys.js';
import { MODULE_PREFIX, requireFit, shapeMismatches, tensorValues } from '../peft/tensors.js';

type Trained = (tensor: string) => boolean;

/**
 * Tensors of the base model that are trained themselves. They stay the decoder's; attaching and detaching exchange
 * their values.
 */
export class LayersAdapter implements Adapter {
  readonly parameters: readonly AdapterParameter[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  /** Values that are not in force: of the base while this is attached, of this while it is detached. */
  private readonly others = new Map<string, tf.Tensor | Float32Array>();
  private attached = true;

  constructor(
    decoder: Decoder,
    readonly config: LayersConfig | FullConfig,
    private readonly variables: ReadonlyMap<string, tf.Variable>,
  ) {
    const forms = storedForms(decoder.config);
    this.parameters = [...variables].map(([name, variable]) => ({
      key: `${MODULE_PREFIX}${name}`,
      variable,
      stored: (values: Float32Array) => storedTensor(forms.get(name) as StoredForm, values),
    }));
    const { modules } = decoder.config.family;
    this.layerParameters = Array.from({ length: decoder.config.numLayers }, (_, i) =>
      [...variables].filter(([name]) => name.startsWith(`${modules.layer(i)}.`)).map(([, variable]) => variable),
    );
  }

  /**
   * Keeps the base's values in host memory: training changes the tensors in place. A model that is trained whole is
   * given up instead.
   */
  async initialize(): Promise<void> {
    if (this.config.peftType === 'FULL') return;
    for (const [name, variable] of this.variables) this.others.set(name, (await variable.data<'float32'>()).slice());
  }

  /** Puts saved values in the place of the base's, which stay on the device. */
  replace(values: ReadonlyMap<string, Float32Array>): void {
    for (const [name, variable] of this.variables)
      this.others.set(name, tf.keep(tf.tensor(values.get(name) as Float32Array, variable.shape)));
    this.exchange();
  }

  attach(): void {
    if (!this.attached) this.exchange();
    this.attached = true;
  }

  detach(): void {
    if (this.others.size === 0) throw new Error('the base model was trained in place, and its values were not kept');
    if (this.attached) this.exchange();
    this.attached = false;
  }

  private exchange(): void {
    for (const [name, variable] of this.variables) {
      const next = this.others.get(name) as tf.Tensor | Float32Array;
      // A clone shares the values; the variable then gets others.
      this.others.set(name, tf.keep(variable.clone()));
      const tensor = next instanceof Float32Array ? tf.tensor(next, variable.shape) : next;
      variable.assign(tensor);
      tensor.dispose();
    }
  }

  /** The variables go with the decoder. */
  dispose(): void {
    if (this.others.size > 0) this.detach();
    for (const values of this.others.values()) if (values instanceof tf.Tensor) values.dispose();
    this.others.clear();
  }
}

/** The tensors of a decoder that are to be trained. @throws ConfigError when it was not loaded for that. */
export function variablesOf(decoder: Decoder, trained: Trained): Map<string, tf.Variable> {
  const variables = new Map([...trainedTensors(decoder)].filter(([name]) => trained(name)));
  const missing = [...storedForms(decoder.config).keys()].filter((name) => trained(name) && !variables.has(name));
  if (missing.length === 0) return variables;
  throw new ConfigError(
    `${missing[0]} and ${missing.length - 1} others of the base model are trained: it has to be loaded for that (\`trainable\` of loadModel)`,
  );
}

/** What keeps saved tensors from taking the place of those that are trained. */
export function layersMismatches(model: ModelConfig, trained: Trained, tensors: TensorShapes): string[] {
  const forms = [...storedForms(model)].filter(([name]) => trained(name));
  return shapeMismatches(
    new Map(forms.map(([name, { shape }]) => [`${MODULE_PREFIX}${name}`, shape])),
    renamedKeys(model, tensors),
  );
}

export function loadLayers(
  decoder: Decoder,
  config: LayersConfig | FullConfig,
  trained: Trained,
  stored: ReadonlyMap<string, TensorBytes>,
  name: string,
): LayersAdapter {
  const tensors = renamedKeys(decoder.config, stored);
  requireFit(layersMismatches(decoder.config, trained, tensors), name);
  const variables = variablesOf(decoder, trained);
  const forms = storedForms(decoder.config);
  // All are read before any goes to the device, so that a broken one leaves nothing behind.
  const values = new Map(
    [...variables.keys()].map((tensor) => [
      tensor,
      (forms.get(tensor) as StoredForm).hold(tensorValues(tensors, `${MODULE_PREFIX}${tensor}`, name)),
    ]),
  );
  const adapter = new LayersAdapter(decoder, config, variables);
  adapter.replace(values);
  return adapter;
}
