import type { Packed4bit } from '../../../../kernels/types.js';
import { dequantize4bit, quantize4bit } from '../../../quant/quantize.js';
import { principal, remainder } from './principal.js';

/** As PEFT quantises for LoftQ, whatever the rest of the model is held as. */
export const LOFTQ_QUANTIZATION = { quantType: 'nf4', blockSize: 64, doubleQuant: false } as const;

/** Which base a LoftQ adapter belongs on in Python, where adapter_config.json cannot say it. */
export function loftqInPython(iterations: number): string {
  if (iterations > 1)
    return 'Python has no such base for loftq_iter above 1: use what `lowrank export --format merged` writes';
  return "In Python load the base with BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=False)";
}

/**
 * The frozen weight under a LoftQ adapter: NF4 of the weight; with further iterations NF4 of what the leading part of
 * its loss leaves of the weight. It is that of PEFT, whose loop takes s for 1: s·B·A here is what the loop found,
 * whatever s is. Source: Li et al. 2023, arXiv:2310.08659, algorithm 1.
 */
export function loftqBase(
  values: Float32Array,
  shape: readonly [number, number],
  rank: number,
  scale: number,
  iterations: number,
): Packed4bit {
  let packed = quantize4bit(values, shape, LOFTQ_QUANTIZATION);
  for (let iteration = 1; iteration < iterations; iteration++) {
    const { a, b } = principal(lostValues(values, packed), shape, rank, scale);
    packed = quantize4bit(remainder(values, shape, a, b, rank, scale), shape, LOFTQ_QUANTIZATION);
  }
  return packed;
}

/** What 4 bits lose of a weight. */
export function lostValues(values: Float32Array, packed: Packed4bit): Float32Array {
  const kept = dequantize4bit(packed);
  return values.map((value, i) => value - (kept[i] as number));
}
