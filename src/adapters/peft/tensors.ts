import { FormatError } from '../../errors.js';
import { finiteValues, firstNotFinite } from '../../io/finite.js';
import { float32Tensor, toFloat32, type TensorBytes } from '../../io/safetensors.js';
import type { Adapter, TensorShapes } from '../adapter.js';

/** What PEFT puts before the path of a module of the base model. */
export const MODULE_PREFIX = 'base_model.model.';

/**
 * What tells saved tensors from the expected ones: missing, misshapen and unexpected, one sentence each; empty when
 * they are these.
 */
export function shapeMismatches(expected: ReadonlyMap<string, readonly number[]>, tensors: TensorShapes): string[] {
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const [key, shape] of expected) {
    const found = tensors.get(key)?.shape;
    if (found === undefined) missing.push(`${key}: missing, expected [${shape.join(', ')}]`);
    else if (found.join() !== shape.join())
      misshapen.push(`${key}: found [${found.join(', ')}], expected [${shape.join(', ')}]`);
  }
  const unexpected = [...tensors.keys()]
    .filter((key) => !expected.has(key))
    .map((key) => `${key}: unexpected: nothing of this model takes it`);
  return [...missing, ...misshapen, ...unexpected];
}

/**
 * An error lists so many mismatches of a kind: a model has hundreds of tensors, and a wrong base makes all of them
 * wrong.
 */
const MOST_LISTED = 8;
const KINDS = [
  [/: missing,/, 'missing'],
  [/: found \[/, 'of another shape'],
  [/: unexpected:/, 'unexpected'],
] as const;

/** The first mismatches of each kind, and how many more there are. */
function shortened(mismatches: readonly string[]): string[] {
  const kindOf = (mismatch: string): string => KINDS.find(([pattern]) => pattern.test(mismatch))?.[1] ?? 'others';
  return [...new Set(mismatches.map(kindOf))].flatMap((kind) => {
    const all = mismatches.filter((mismatch) => kindOf(mismatch) === kind);
    return all.length <= MOST_LISTED
      ? all
      : [...all.slice(0, MOST_LISTED), `and ${all.length - MOST_LISTED} more ${kind}`];
  });
}

/** @throws FormatError with the mismatches, if there are any: the first of each kind, and a count. */
export function requireFit(mismatches: readonly string[], name: string): void {
  if (mismatches.length > 0)
    throw new FormatError(`${name}: the adapter does not fit the model: ${shortened(mismatches).join('; ')}`);
}

/**
 * A saved tensor's values.
 * @throws FormatError at a NaN or an infinity: a file that has one is refused where it comes in.
 */
export function tensorValues(tensors: ReadonlyMap<string, TensorBytes>, key: string, name: string): Float32Array {
  const where = `${name}: ${key}`;
  return finiteValues(toFloat32(tensors.get(key) as TensorBytes, where), where);
}

/**
 * What an adapter has learnt, as it goes into a file, by key.
 * @throws FormatError when a value is NaN or infinite: such an adapter is never written.
 */
export async function trainedValues(adapter: Pick<Adapter, 'parameters'>): Promise<Map<string, TensorBytes>> {
  const tensors = new Map<string, TensorBytes>();
  for (const { key, variable, stored } of adapter.parameters) {
    const values = await variable.data<'float32'>();
    if (firstNotFinite(values) >= 0)
      throw new FormatError(`${key} holds a value that is not finite; the adapter is not saved`);
    tensors.set(key, stored?.(values) ?? float32Tensor(variable.shape, values));
  }
  return tensors;
}
