import { ADAPTER_CONFIG, type PeftAdapter } from '../adapters/peft/document.js';
import { definitionOf, methodOf, methodOfType, parseAdapterConfig } from '../adapters/registry.js';
import { FormatError } from '../errors.js';

/**
 * Checks that PEFT can load an adapter. One of a `peft_type` that only PEFT knows may be.
 * @throws FormatError with the reason.
 */
export function requirePeft({ name, json }: Pick<PeftAdapter, 'name' | 'json'>): void {
  const method = methodOfType(json['peft_type']);
  const reason = method === undefined ? undefined : definitionOf(method).notOfPeft;
  if (reason !== undefined)
    throw new FormatError(`${name}: an adapter of method ${method} cannot be exported for PEFT: ${reason}`);
}

/**
 * Checks that the method of an adapter can be merged, or exported for other runtimes. What is in the way of a LoRA
 * adapter is told where it is taken apart.
 * @throws FormatError with the reason, or for a `peft_type` that is not known.
 */
export function requireMethod(adapter: PeftAdapter, purpose: 'merge' | 'export'): void {
  if (adapter.config !== undefined) return;
  const config = parseAdapterConfig(adapter.json, `${adapter.name}/${ADAPTER_CONFIG}`);
  const method = methodOf(config);
  const { notMergeable, notExportable } = definitionOf(method);
  const reason = purpose === 'merge' ? notMergeable : notExportable;
  if (reason !== undefined)
    throw new FormatError(
      `${adapter.name}: an adapter of method ${method} cannot be ${purpose === 'merge' ? 'merged' : 'exported'}: ${reason}`,
    );
}
