import { gpuLimits } from './dispatch.js';

/**
 * Storage buffers that a packed dispatch binds at most: past some thirty a shader's switch grows and its dispatches
 * hardly get fewer.
 */
const MOST_BUFFERS = 32;

/**
 * WGSL for one dispatch over lists of tensors, of which it has none: a line that ends in `// #each n` is repeated
 * `counts.n` times with 0, 1, … in place of `$i`, and `$n` becomes the count.
 */
export function forEach(code: string, counts: Readonly<Record<string, number>>): string {
  let out = code;
  for (const [name, count] of Object.entries(counts)) {
    const line = new RegExp(`^(.*) // #each ${name}\\n`, 'gm');
    out = out.replace(line, (_, text: string) =>
      Array.from({ length: count }, (_value, i) => `${text.replaceAll('$i', `${i}`)}\n`).join(''),
    );
    out = out.replaceAll(`$${name}`, `${count}`);
  }
  return out;
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
