import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { ByteSource } from './source.js';

/** Bytes that are in memory at once. */
const CHUNK = 2 ** 22;

/** A SHA-256 in the making. */
export interface Hasher {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array;
}

/** In plain JavaScript, for everywhere. */
export const portableHasher = (): Hasher => sha256.create();

/** Where this is Node its own SHA-256, over ten times as fast: the weights of a model are gigabytes. */
function newHasher(): Hasher {
  const node = (globalThis as { process?: Partial<Pick<NodeJS.Process, 'getBuiltinModule'>> }).process;
  return node?.getBuiltinModule?.('node:crypto')?.createHash('sha256') ?? portableHasher();
}

/**
 * SHA-256 of a whole file as 64 lower-case hex digits, read piece by piece: files of any size, in browsers too.
 * @throws what reading the source throws.
 * Source: FIPS 180-4.
 */
export async function hashSource(source: ByteSource, hash: Hasher = newHasher()): Promise<string> {
  for (let offset = 0; offset < source.size; offset += CHUNK) {
    hash.update(await source.read(offset, Math.min(CHUNK, source.size - offset)));
  }
  return bytesToHex(hash.digest());
}
