import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { referencePath } from '../support/references.js';

/** The compact copy that is part of the repository. */
export const GOLDEN = resolve('test/golden/bitsandbytes');
/** The complete references, where they are at hand. */
export const REFERENCE = referencePath('reference');

const digests = JSON.parse(readFileSync(`${GOLDEN}/digests.json`, 'utf8')) as Record<string, string>;

export function goldenBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(`${GOLDEN}/${path}`));
}

export function goldenFloats(path: string): Float32Array {
  return new Float32Array(goldenBytes(path).buffer);
}

export function bytesOf(array: Float32Array | Uint16Array | Uint8Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/**
 * Differing elements between `actual` and a golden file, element by element where the file is carried, else 0 or −1
 * by its SHA-256. The tolerance of every golden here is 0 differing bits.
 */
export function differing(actual: Float32Array | Uint16Array | Uint8Array, path: string): number {
  const bytes = bytesOf(actual);
  if (existsSync(`${GOLDEN}/${path}`)) return countDiffering(bytes, goldenBytes(path), actual.BYTES_PER_ELEMENT);
  const digest = digests[path];
  if (digest === undefined) throw new Error(`no golden ${path}`);
  return createHash('sha256').update(bytes).digest('hex') === digest ? 0 : -1;
}

export function countDiffering(actual: Uint8Array, expected: Uint8Array, size: number): number {
  if (actual.length !== expected.length) return Infinity;
  let count = 0;
  for (let i = 0; i < actual.length; i += size) {
    for (let j = i; j < i + size; j++) {
      if (actual[j] !== expected[j]) {
        count++;
        break;
      }
    }
  }
  return count;
}
