import type { LoadQuantization } from '../model/load.js';
import type { TrainingRecord } from './record.js';

/**
 * How the base was held when an adapter was trained on it, as the loader takes it; undefined for floats, or where
 * nobody knows.
 */
export function recordedQuantization(record: TrainingRecord | undefined): LoadQuantization | undefined {
  const quantization = record?.base.quantization ?? undefined;
  if (quantization === undefined) return undefined;
  const {
    bnb_4bit_quant_type: quantType,
    bnb_4bit_use_double_quant: doubleQuant,
    bnb_4bit_blocksize: blockSize,
  } = quantization;
  return { quantType, doubleQuant, blockSize };
}
