import * as tf from '@tensorflow/tfjs-core';
import { ConfigError } from '../../errors.js';
import type { Decoder } from '../../model/decoder.js';
import { FrozenEmbedding } from '../../model/embedding.js';
import { FrozenHead } from '../../model/head.js';
import { FrozenLinear, type Linear } from '../../model/linear.js';
import type { NormWeights } from '../../model/norm.js';
import { storedForms, storedTensor, type StoredForm } from '../../model/stored.js';
import { variableFrom } from '../../model/variable.js';
import type { AdapterParameter } from '../adapter.js';
import { copyKey } from './tensor-shapes.js';
import type { TrainedCopy } from './layout.js';
import { moduleInSlot, type AdaptedModule, type Slot } from './lora-adapter.js';

/** Values of a tensor of a module that is trained as a whole; undefined for those of the base. */
export type CopyValues = (key: string) => Float32Array | undefined;

/** A module of which the adapter has a trained copy, in the place of the base's own. */
export function trainedCopy(
  decoder: Decoder,
  { module, kind, shapes }: TrainedCopy,
  values: CopyValues,
): AdaptedModule {
  const forms = storedForms(decoder.config);
  const formOf = (tensor: string): StoredForm =>
    forms.get(`${module}.${tensor}`) ?? {
      shape: shapes[tensor] as readonly number[],
      hold: (held) => held,
      store: (held) => held,
    };
  const copies: Record<string, tf.Variable> = {};
  const copyOf = <T extends tf.Tensor>(tensor: string, base: T): T => {
    const given = values(copyKey(module, tensor));
    const made = variableFrom(
      given === undefined ? tf.mul(base, 1) : tf.tensor(formOf(tensor).hold(given), base.shape),
    );
    copies[tensor] = made;
    return made as tf.Tensor as T;
  };
  const parameters = (): AdapterParameter[] =>
    Object.entries(copies).map(([tensor, variable]) => ({
      key: copyKey(module, tensor),
      variable,
      stored: (held) => storedTensor(formOf(tensor), held),
    }));
  const adapt = <T>(slot: Slot<T>, copy: T): AdaptedModule => moduleInSlot(module, slot, copy, parameters());

  switch (kind) {
    case 'linear': {
      const base = decoder.linears.get(module);
      if (!(base instanceof FrozenLinear)) throw new Error(`${module} already carries an adapter: detach it first`);
      if (base.weight.kind !== 'dense')
        throw new ConfigError(
          `modules_to_save: ${module} is held in 4 bits, which take no gradient: give it a low-rank update (target_modules), or load the model without load_in_4bit`,
        );
      const weight = { ...base.weight, values: copyOf('weight', base.weight.values) };
      const bias = base.bias === undefined ? undefined : copyOf('bias', base.bias);
      return adapt(linearSlot(decoder, module), new FrozenLinear(module, weight, bias));
    }
    case 'embedding': {
      const { embedding: table } = decoder.weights;
      return adapt(embeddingSlot(decoder), new FrozenEmbedding(module, copyOf('weight', table)));
    }
    case 'head': {
      const base = decoder.head;
      if (!(base instanceof FrozenHead) || base.weight.kind !== 'dense')
        throw new Error(`${module} already carries an adapter: detach it first`);
      const weight = { ...base.weight, values: copyOf('weight', base.weight.values) };
      return adapt(
        headSlot(decoder),
        new FrozenHead(module, weight, base.bias === undefined ? undefined : copyOf('bias', base.bias)),
      );
    }
    case 'norm': {
      const norm = normOf(decoder, module) as { -readonly [K in keyof NormWeights]: NormWeights[K] };
      const copy = {
        weight: copyOf('weight', norm.weight),
        bias: norm.bias === undefined ? undefined : copyOf('bias', norm.bias),
      };
      const slot: Slot<NormWeights> = {
        get: () => ({ weight: norm.weight, bias: norm.bias }),
        set: (value) => void Object.assign(norm, value),
        same: (a, b) => a.weight === b.weight,
      };
      return adapt(slot, copy);
    }
  }
}

export function linearSlot(decoder: Decoder, module: string): Slot<Linear> {
  return { get: () => decoder.linears.get(module) as Linear, set: (value) => void decoder.linears.set(module, value) };
}

export function embeddingSlot(decoder: Decoder): Slot<Decoder['embedding']> {
  return { get: () => decoder.embedding, set: (value) => void (decoder.embedding = value) };
}

export function headSlot(decoder: Decoder): Slot<Decoder['head']> {
  return { get: () => decoder.head, set: (value) => void (decoder.head = value) };
}

/** The weights of a norm by its path. */
function normOf(decoder: Decoder, module: string): NormWeights {
  const { modules } = decoder.config.family;
  const { norms, finalNorm } = decoder.weights;
  if (module === modules.finalNorm) return finalNorm;
  const paths = {
    attention: modules.attentionNorm,
    mlp: modules.mlpNorm,
    query: modules.queryNorm,
    key: modules.keyNorm,
  };
  for (const [i, layer] of norms.entries()) {
    for (const [role, path] of Object.entries(paths) as [keyof typeof paths, string | undefined][]) {
      const found = path !== undefined && module === `${modules.layer(i)}.${path}` ? layer[role] : undefined;
      if (found !== undefined) return found;
    }
  }
  throw new Error(`no norm ${module}`);
}
