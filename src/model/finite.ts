import { DeviceError } from '../errors.js';
import { firstNotFinite } from '../io/finite.js';

/**
 * @throws DeviceError when a number that a model has computed is NaN or infinite: nothing that is made of it would mean
 * anything.
 */
export function requireFinite(value: number, what: string): void {
  if (!Number.isFinite(value))
    throw new DeviceError(
      `${what} is ${value}: activations overflow, or the device computes wrongly; files with weights that are not finite are refused before`,
    );
}

/** The same of logits over a vocabulary. */
export function requireFiniteLogits(logits: Float32Array, vocab: number): void {
  const at = firstNotFinite(logits);
  if (at >= 0) requireFinite(logits[at] as number, `the logit of token ${at % vocab}`);
}
