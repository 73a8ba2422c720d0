import { FormatError } from '../errors.js';

/** Index of the first value that is NaN or infinite; −1 where all are finite. */
export function firstNotFinite(values: Float32Array): number {
  // x − x is 0 for every finite number and NaN for the others: one sum a block, without a branch a value.
  const block = 4096;
  for (let start = 0; start < values.length; start += block) {
    const end = Math.min(start + block, values.length);
    let broken = 0;
    for (let i = start; i < end; i++) broken += (values[i] as number) - (values[i] as number);
    if (broken !== 0) return values.findIndex((value, i) => i >= start && !Number.isFinite(value));
  }
  return -1;
}

/**
 * The values, which must all be finite: one NaN in a weight can pass through a softmax or a maximum unseen.
 * @param where the file and the tensor, for the message
 * @throws FormatError naming the first element that is not
 */
export function finiteValues(values: Float32Array, where: string): Float32Array {
  const at = firstNotFinite(values);
  if (at >= 0)
    throw new FormatError(
      `${where}: element ${at} is ${values[at]}, allowed finite numbers: the file is damaged, or was saved by a training that had failed`,
    );
  return values;
}
