import type { FloatDtype } from '../../kernels/types.js';
import { FormatError } from '../errors.js';
import { float32ToBfloat16, float32ToFloat16 } from '../io/half.js';

/** torch's names of the float dtypes, as config.json and the command line have them. */
export const FLOAT_NAMES = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const satisfies Record<
  string,
  FloatDtype
>;
export type FloatName = keyof typeof FLOAT_NAMES;

export function floatName(dtype: FloatDtype): FloatName {
  return (Object.keys(FLOAT_NAMES) as FloatName[]).find((name) => FLOAT_NAMES[name] === dtype) as FloatName;
}

/**
 * Bytes of the values in a dtype, rounded to nearest even. @throws FormatError when a value becomes infinite or was
 * never finite.
 */
export function encodeFloats(values: Float32Array, dtype: FloatDtype, where: string): Uint8Array {
  // 65520 and above have no float16; the largest float32 have no bfloat16.
  const limit = dtype === 'F16' ? 65520 : dtype === 'BF16' ? 3.3961e38 : Infinity;
  const at = values.findIndex((value) => !(Math.abs(value) < limit));
  if (at >= 0) throw new FormatError(`${where}: element ${at} is ${values[at]}, which ${floatName(dtype)} cannot hold`);
  const typed = dtype === 'F32' ? values : dtype === 'F16' ? float32ToFloat16(values) : float32ToBfloat16(values);
  return new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength);
}
