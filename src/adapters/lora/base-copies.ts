import { FormatError } from '../../errors.js';
import { toFloat32, type TensorBytes } from '../../io/safetensors.js';
import type { Decoder } from '../../model/decoder.js';
import { baseCopies } from './tensor-shapes.js';
import type { LoraConfig } from './config.js';

/**
 * A step of the dtype that a copy is stored in, against the values of the base: it may have been rounded to it, or cut
 * off.
 */
const ROUNDING: Readonly<Record<string, number>> = { F32: 0, F16: 2 ** -10, BF16: 2 ** -7 };

/**
 * Holds weights that PEFT saves beside an adapter against the base. What is equal is left out; what differs takes the
 * place of the base's own, as PEFT has it, like a module of modules_to_save.
 * @returns the configuration with those modules, and a sentence about each weight.
 * @throws FormatError when an adapter lies on a weight that differs.
 */
export async function settleBaseCopies(
  decoder: Decoder,
  config: LoraConfig,
  tensors: ReadonlyMap<string, TensorBytes>,
  name: string,
): Promise<{ readonly config: LoraConfig; readonly notes: readonly string[] }> {
  const replaced: string[] = [];
  const notes: string[] = [];
  for (const { key, module, tensor: copied, adapted } of baseCopies(decoder.config, config, tensors)) {
    const tensor = tensors.get(key) as TensorBytes;
    if (await equalsBase(decoder, `${module}.${copied}`, tensor, key)) {
      notes.push(`${name}: ${key} is the base's own weight, as PEFT saves it too`);
      continue;
    }
    if (adapted)
      throw new FormatError(
        `${name}: ${key} is another weight than that of the base, and the adapter changes ${module} besides: this is not the base that it was trained on`,
      );
    if (!replaced.includes(module)) replaced.push(module);
    notes.push(
      `${name}: ${key} is another weight than that of the base and takes its place, as if modules_to_save named ${module}`,
    );
  }
  return {
    config:
      replaced.length === 0 ? config : { ...config, modulesToSave: [...(config.modulesToSave ?? []), ...replaced] },
    notes,
  };
}

async function equalsBase(decoder: Decoder, name: string, tensor: TensorBytes, key: string): Promise<boolean> {
  const { embedding, floats } = decoder.weights;
  // A tied output layer is the embedding.
  const own = await (floats.get(name) ?? embedding).data();
  const copy = toFloat32(tensor, key);
  const rounding = ROUNDING[tensor.dtype] ?? 0;
  return (
    copy.length === own.length &&
    copy.every((value, i) => Math.abs(value - (own[i] as number)) <= rounding * Math.abs(own[i] as number))
  );
}
