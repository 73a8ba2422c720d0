import { gpuLimits } from '../runtime/webgpu.js';

/** Storage buffers that a packed dispatch binds at most: past some thirty a shader's switch grows and its dispatches hardly get fewer. */
const MOST_BUFFERS = 32;

/**
 * WGSL for one dispatch over `count` tensors: a line that ends in `// #each` is repeated with 0, 1, … in place of `$i`, and `$n` becomes
 * the count. WGSL has no arrays of bindings.
 */
export function forEach(code: string, count: number): string {
  const repeated = code.replace(/^(.*) \/\/ #each$/gm, (_, line: string) => Array.from({ length: count }, (_, i) => line.replaceAll('$i', `${i}`)).join('\n'));
  return repeated.replaceAll('$n', `${count}`);
}

/** How many items one dispatch can bind, each `buffers` storage buffers, besides `others`. */
export function itemsPerDispatch(backend: unknown, buffers: number, others: number): number {
  const bound = Math.min(MOST_BUFFERS, gpuLimits(backend).maxStorageBuffersPerShaderStage);
  return Math.max(1, Math.floor((bound - others) / buffers));
}

/** Neighbours in groups of `size`, the last of what is left. */
export function chunks<T>(items: readonly T[], size: number): T[][] {
  const out: T[][] = [];
  for (let first = 0; first < items.length; first += size) out.push(items.slice(first, first + size));
  return out;
}
