import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hashSource, portableHasher } from '../../src/io/hash.js';
import { memorySource } from '../../src/io/source.js';

const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 255);

describe('hashSource', () => {
  it('gives the digests of the standard', async () => {
    expect(await hashSource(memorySource('none', new Uint8Array(0)))).toBe(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
    expect(await hashSource(memorySource('abc', new TextEncoder().encode('abc')))).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
    expect(await hashSource(memorySource('none', new Uint8Array(0)), portableHasher())).toMatch(/^e3b0c442/);
  });

  it('agrees with OpenSSL where a file takes several pieces', async () => {
    for (const length of [2 ** 22, 2 ** 22 + 1, 2 ** 23 + 12_345]) {
      const bytes = bytesOf(length);
      const expected = createHash('sha256').update(bytes).digest('hex');
      expect(await hashSource(memorySource('long', bytes))).toBe(expected);
      expect(await hashSource(memorySource('long', bytes), portableHasher())).toBe(expected);
    }
  });
});
