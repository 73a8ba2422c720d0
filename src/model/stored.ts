import { float32Tensor, type TensorBytes } from '../io/safetensors.js';
import type { ModelConfig } from './config.js';
import { expectedTensors, floatTensors, linearLayers, weightLayout } from './tensors.js';

/** How a checkpoint stores a tensor that the decoder holds. */
export interface StoredForm {
  /** Of the file. */
  readonly shape: readonly number[];
  /** The decoder's values from the file's. */
  hold(stored: Float32Array): Float32Array;
  /** The file's values from the decoder's. */
  store(held: Float32Array): Float32Array;
}

/** The form of every tensor that the decoder needs, by its name. */
export function storedForms(config: ModelConfig): Map<string, StoredForm> {
  const offsets = new Map<string, number>(floatTensors(config).map(({ name, offset }) => [name, offset]));
  const turned = new Set(
    linearLayers(config).flatMap(({ name }) => (weightLayout(config, name) === 'conv1d' ? [`${name}.weight`] : [])),
  );
  const forms = [...expectedTensors(config)].map(([name, shape]): [string, StoredForm] => {
    if (turned.has(name)) {
      const [rows, columns] = shape as [number, number];
      return [
        name,
        {
          shape,
          hold: (values) => transposed(values, rows, columns),
          store: (values) => transposed(values, columns, rows),
        },
      ];
    }
    const offset = offsets.get(name) ?? 0;
    const plus = (values: Float32Array, by: number): Float32Array =>
      by === 0 ? values : values.map((value) => value + by);
    return [name, { shape, hold: (values) => plus(values, offset), store: (values) => plus(values, -offset) }];
  });
  return new Map(forms);
}

/** A tensor as a checkpoint in float32 has it. */
export function storedTensor(form: StoredForm, held: Float32Array): TensorBytes {
  return float32Tensor(form.shape, form.store(held));
}

/** `[rows, columns]` to `[columns, rows]`. */
export function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      out[column * rows + row] = values[row * columns + column] as number;
  }
  return out;
}
