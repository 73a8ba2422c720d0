import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { withSharedMemory } from '../../../kernels/runtime/threads/shared-memory.js';

/** A module from its sections; all lengths here fit into one byte. */
function moduleOf(...sections: readonly (readonly [id: number, ...body: number[]])[]): Uint8Array {
  return Uint8Array.from([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...sections.flatMap(([id, ...body]) => [id, body.length, ...body]),
  ]);
}

const TYPES = [1, 1, 0x60, 0, 0] as const;
const importOf = (...kind: number[]): number[] => [1, 0x65, 1, 0x78, ...kind];

describe('withSharedMemory', () => {
  it('shares an imported memory, among imports of every other kind', () => {
    const imports = [
      2,
      4,
      ...importOf(1, 0x70, 1, 1, 200, 1),
      ...importOf(2, 0, 1),
      ...importOf(0, 0),
      ...importOf(3, 0x7f, 0),
    ] as const;
    const plain = moduleOf(TYPES, imports);
    expect(WebAssembly.validate(plain as BufferSource)).toBe(true);
    const shared = withSharedMemory(plain);
    const expected = [
      2,
      4,
      ...importOf(1, 0x70, 1, 1, 200, 1),
      ...importOf(2, 3, 1, 128, 128, 4),
      ...importOf(0, 0),
      ...importOf(3, 0x7f, 0),
    ] as const;
    expect([...shared]).toEqual([...moduleOf(TYPES, expected)]);
    expect(WebAssembly.validate(shared as BufferSource)).toBe(true);
  });

  it('shares a memory of its own and keeps its maximum', () => {
    const shared = withSharedMemory(moduleOf([5, 1, 1, 1, 130, 1], [7, 1, 1, 0x6d, 2, 0]));
    expect([...shared]).toEqual([...moduleOf([5, 1, 3, 1, 130, 1], [7, 1, 1, 0x6d, 2, 0])]);
    const { m } = new WebAssembly.Instance(new WebAssembly.Module(shared as BufferSource)).exports as {
      m: WebAssembly.Memory;
    };
    expect(m.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it("changes one byte of tfjs's binary", () => {
    const path = createRequire(import.meta.url).resolve(
      '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm',
    );
    const plain = readFileSync(path);
    const shared = withSharedMemory(plain);
    expect(shared.length).toBe(plain.length);
    expect([...shared].filter((byte, i) => byte !== plain[i])).toEqual([3]);
    expect(WebAssembly.validate(shared as BufferSource)).toBe(true);
  });

  it('refuses a module without memory, and one that is cut short', () => {
    expect(() => withSharedMemory(moduleOf(TYPES))).toThrow(/no memory/);
    expect(() => withSharedMemory(moduleOf([2, 1, ...importOf(0, 0)]))).toThrow(/no memory/);
    expect(() => withSharedMemory(moduleOf([5, 1, 1, 1, 130, 1]).subarray(0, 12))).toThrow(/cut short/);
  });
});
