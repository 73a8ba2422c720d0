import type { FloatDtype, Packed4bit, PackedAbsmax, QuantType } from '../../kernels/types.js';
import { FormatError } from '../errors.js';
import type { Checkpoint } from '../io/weights-file.js';
import { finiteValues } from '../io/finite.js';
import { roundToFloat16 } from '../io/half.js';
import { decodeUtf8, isRecord, parseJson } from '../io/json.js';
import { mismatches } from '../io/safetensors-header.js';
import { float32Tensor, toFloat32, type TensorBytes } from '../io/safetensors.js';
import { dequantizeAbsmax } from './quantize.js';

/** torch's names of the dtypes a weight may have been stored in. */
const DTYPES: Readonly<Record<string, FloatDtype>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };
const QUANT_TYPES: readonly QuantType[] = ['nf4', 'fp4'];
const PART_SUFFIXES = ['.absmax', '.quant_map', '.nested_absmax', '.nested_quant_map'];
const stateName = (weight: string, type: QuantType): string => `${weight}.quant_state.bitsandbytes__${type}`;

interface QuantState {
  readonly quantType: QuantType;
  readonly blockSize: number;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly nested?: { readonly blockSize: number; readonly offset: number };
}

/**
 * A 4-bit weight of a bitsandbytes checkpoint: codes, scales and tables as the file has them, nothing recomputed. The
 * codes may be stored under any dtype (`bnb_4bit_quant_storage`): their bytes are what counts.
 * @param weight the tensor's name, such as `model.layers.0.mlp.up_proj.weight`
 * @returns undefined when this weight is not quantised to 4 bits
 * @throws FormatError listing every part that is missing or does not fit; for weights in LLM.int8 form.
 */
export async function readQuantized(checkpoint: Checkpoint, weight: string): Promise<Packed4bit | undefined> {
  const quantType = QUANT_TYPES.find((type) => checkpoint.has(stateName(weight, type)));
  if (quantType === undefined) {
    if (weight.endsWith('weight') && checkpoint.has(weight.replace(/weight$/, 'SCB'))) {
      throw new FormatError(
        `${checkpoint.name}: ${weight}: is in 8-bit LLM.int8 form, allowed: float or 4-bit weights`,
      );
    }
    return undefined;
  }
  const where = `${checkpoint.name}: ${weight}`;
  const state = await readState(checkpoint, weight, quantType);
  const count = state.shape.reduce((a, b) => a * b, 1);
  const blocks = Math.ceil(count / state.blockSize);
  const problems: string[] = [];
  const part = async (suffix: string, dtype: string | undefined, expected: number): Promise<Uint8Array> => {
    const name = `${weight}${suffix}`;
    if (!checkpoint.has(name)) {
      problems.push(`${name}: missing`);
      return new Uint8Array();
    }
    const tensor = await checkpoint.read(name);
    if (dtype !== undefined && tensor.dtype !== dtype)
      problems.push(`${name}: found dtype ${tensor.dtype}, allowed ${dtype}`);
    if (tensor.bytes.byteLength !== expected)
      problems.push(`${name}: found ${tensor.bytes.byteLength} bytes, allowed ${expected}`);
    return tensor.bytes.slice();
  };
  const floats = async (suffix: string, expected: number): Promise<Float32Array> => {
    const before = problems.length;
    const bytes = await part(suffix, 'F32', expected * 4);
    if (problems.length > before) return new Float32Array();
    const values = toFloat32({ dtype: 'F32', shape: [expected], bytes }, where);
    if (!values.every((value) => Number.isFinite(value)))
      problems.push(`${weight}${suffix}: holds values that are not finite`);
    return values;
  };
  const packed = await part('', undefined, Math.ceil(count / 2));
  const code = await floats('.quant_map', 16);
  let absmax: PackedAbsmax;
  if (state.nested === undefined) {
    absmax = { kind: 'plain', values: await floats('.absmax', blocks) };
  } else {
    const { blockSize: nestedBlockSize, offset } = state.nested;
    const codes = await part('.absmax', 'U8', blocks);
    const nestedAbsmax = await floats('.nested_absmax', Math.ceil(blocks / nestedBlockSize));
    absmax = {
      kind: 'nested',
      codes,
      map: await floats('.nested_quant_map', 256),
      nestedAbsmax,
      nestedBlockSize,
      offset,
    };
  }
  if (problems.length > 0) throw mismatches(where, problems);
  const { shape, blockSize, dtype } = state;
  // The largest value that each block can hold.
  const largest = dequantizeAbsmax(absmax).map((scale) => scale * Math.max(...code.map(Math.abs)));
  finiteValues(dtype === 'F16' ? roundToFloat16(largest) : largest, `${where}: largest values of blocks`);
  return { quantType, shape, blockSize, dtype, packed, code, absmax };
}

/**
 * Shape and original dtype of a 4-bit weight, read from its state alone; undefined when the tensor is none. @throws
 * FormatError
 */
export async function quantizedShape(
  checkpoint: Checkpoint,
  weight: string,
): Promise<{ shape: readonly number[]; dtype: FloatDtype } | undefined> {
  const quantType = QUANT_TYPES.find((type) => checkpoint.has(stateName(weight, type)));
  return quantType === undefined ? undefined : readState(checkpoint, weight, quantType);
}

/** Names of all tensors that are scales, tables or states of 4-bit weights. */
export function quantizedParts(checkpoint: Checkpoint): Set<string> {
  const parts = new Set<string>();
  for (const weight of checkpoint.names()) {
    for (const type of QUANT_TYPES) {
      const state = stateName(weight, type);
      if (!checkpoint.has(state)) continue;
      for (const suffix of PART_SUFFIXES) parts.add(`${weight}${suffix}`);
      parts.add(state);
    }
  }
  return parts;
}

/** The tensors that bitsandbytes stores for a weight, byte for byte as its own serialisation writes them. */
export function writeQuantized(weight: string, q: Packed4bit): Record<string, TensorBytes> {
  const { quantType, blockSize, shape, absmax } = q;
  const dtype = Object.keys(DTYPES).find((name) => DTYPES[name] === q.dtype) ?? '';
  const bytes = (values: Uint8Array): TensorBytes => ({ dtype: 'U8', shape: [values.length], bytes: values });
  const fields = [
    `"quant_type": "${quantType}"`,
    `"blocksize": ${blockSize}`,
    `"dtype": "${dtype}"`,
    `"shape": [${shape.join(', ')}]`,
  ];
  const tensors: Record<string, TensorBytes> = {
    [weight]: { dtype: 'U8', shape: [q.packed.length, 1], bytes: q.packed },
    [`${weight}.quant_map`]: float32Tensor([16], q.code),
  };
  if (absmax.kind === 'plain') {
    tensors[`${weight}.absmax`] = float32Tensor([absmax.values.length], absmax.values);
  } else {
    tensors[`${weight}.absmax`] = bytes(absmax.codes);
    tensors[`${weight}.nested_absmax`] = float32Tensor([absmax.nestedAbsmax.length], absmax.nestedAbsmax);
    tensors[`${weight}.nested_quant_map`] = float32Tensor([absmax.map.length], absmax.map);
    fields.push(
      `"nested_blocksize": ${absmax.nestedBlockSize}`,
      '"nested_dtype": "float32"',
      `"nested_offset": ${pythonFloat(absmax.offset)}`,
    );
  }
  tensors[stateName(weight, quantType)] = bytes(new TextEncoder().encode(`{${fields.join(', ')}}`));
  return tensors;
}

async function readState(checkpoint: Checkpoint, weight: string, quantType: QuantType): Promise<QuantState> {
  const name = stateName(weight, quantType);
  const where = `${checkpoint.name}: ${name}`;
  const json = parseJson(decodeUtf8((await checkpoint.read(name)).bytes, where), where);
  if (!isRecord(json)) throw new FormatError(`${where}: found no JSON object`);
  const problems: string[] = [];
  const refuse = (field: string, allowed: string): void => {
    problems.push(`${field}: found ${JSON.stringify(json[field]) ?? 'nothing'}, allowed ${allowed}`);
  };
  const { blocksize: blockSize, shape, nested_blocksize: nestedBlockSize, nested_offset: offset } = json;
  const dtype =
    typeof json['dtype'] === 'string' && Object.hasOwn(DTYPES, json['dtype']) ? DTYPES[json['dtype']] : undefined;
  if (json['quant_type'] !== quantType) refuse('quant_type', quantType);
  if (dtype === undefined) refuse('dtype', Object.keys(DTYPES).join(', '));
  if (!isBlockSize(blockSize)) refuse('blocksize', 'an even whole number from 2');
  if (!isShape(shape)) refuse('shape', 'whole numbers from 1 with a product below 2^53');
  // A writer may put zeros for "not nested".
  const isNested = nestedBlockSize !== undefined && nestedBlockSize !== null && nestedBlockSize !== 0;
  if (isNested && !isBlockSize(nestedBlockSize)) refuse('nested_blocksize', 'an even whole number from 2');
  if (isNested && !(typeof offset === 'number' && Number.isFinite(offset))) refuse('nested_offset', 'a finite number');
  if (isNested && (json['nested_dtype'] ?? 'float32') !== 'float32') refuse('nested_dtype', 'float32');
  if (problems.length > 0) throw mismatches(where, problems);
  return {
    quantType,
    dtype: dtype as FloatDtype,
    blockSize: blockSize as number,
    shape: shape as number[],
    ...(isNested ? { nested: { blockSize: nestedBlockSize as number, offset: Math.fround(offset as number) } } : {}),
  };
}

function isBlockSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 2 && value % 2 === 0;
}

function isShape(value: unknown): value is number[] {
  if (!Array.isArray(value) || value.length === 0) return false;
  let product = 1;
  for (const size of value as unknown[]) {
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 1) return false;
    product *= size;
  }
  return Number.isSafeInteger(product);
}

/** A number as Python's repr writes it: the same shortest digits as here, with another rule for exponents. */
function pythonFloat(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2');
  }
  const text = String(Object.is(value, -0) ? '-0' : value);
  return text.includes('.') ? text : `${text}.0`;
}
