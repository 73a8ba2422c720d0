import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { ByteSource } from './source.js';

/** Bytes that are in memory at once. */
const CHUNK = 2 ** 22;

/**
 * SHA-256 of a whole file as 64 lower-case hex digits, read piece by piece: files of any size, in browsers too.
 * @throws what reading the source throws.
 * Source: FIPS 180-4.
 */
export async function hashSource(source: ByteSource): Promise<string> {
  const hash = sha256.create();
  for (let offset = 0; offset < source.size; offset += CHUNK) {
    hash.update(await source.read(offset, Math.min(CHUNK, source.size - offset)));
  }
  return bytesToHex(hash.digest());
}
