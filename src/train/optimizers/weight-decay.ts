/**
 * Whether weight decay pulls at a trained parameter: at all but norm weights and biases, which alone have one
 * dimension, beside DoRA's magnitudes. As Hugging Face's Trainer tells them apart by their names
 * (`get_decay_parameter_names`).
 */
export function decays({
  key,
  variable,
}: {
  readonly key: string;
  readonly variable: { readonly shape: readonly number[] };
}): boolean {
  return variable.shape.length > 1 || key.includes('.lora_magnitude_vector');
}
