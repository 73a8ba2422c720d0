import { spawnSync } from 'node:child_process';
import { setFlagsFromString } from 'node:v8';
import { hasRelaxedSimd, type WasmSimd } from '../../kernels/runtime/wasm/module.js';

/**
 * Versions of V8, those of Node 24 and 26, with which all tests but those on WebGPU passed while its compiler joined
 * neighbouring 128-bit instructions. V8 calls that experimental; those of Node 22 and before do not join what the
 * kernels have, or do not have it.
 */
const WIDE_VERSIONS = /^(13\.6|14\.6)\./;

/**
 * What this process's engine can do of SIMD, with the flags set that it takes: they are obeyed at run time, and by its
 * threads.
 *
 * LOWRANK_RELAXED_SIMD=0 does without relaxed SIMD, so that every machine rounds alike. LOWRANK_WIDE_SIMD=0 does
 * without 256 bits, which rounds the same; LOWRANK_WIDE_SIMD=1 takes them on a version of V8 that nobody has tried.
 */
export function nodeSimd(): WasmSimd {
  if (process.env['LOWRANK_RELAXED_SIMD'] === '0') return 'plain';
  // Node 20 has it behind a flag, later ones without.
  if (!hasRelaxedSimd()) setFlagsFromString('--experimental-wasm-relaxed-simd');
  const wide = process.env['LOWRANK_WIDE_SIMD'] || (WIDE_VERSIONS.test(process.versions.v8) ? '1' : '0');
  if (wide !== '1' || !v8Says([...PROCESSOR, '--experimental-wasm-revectorize'])) return 'relaxed';
  setFlagsFromString('--experimental-wasm-revectorize');
  return 'wide';
}

/** What would make the `wasm` device faster on this machine; undefined where nothing is known. */
export function fasterSimd(): string | undefined {
  const older = Number(process.versions.v8.split('.')[0]) < 13;
  return older && process.arch === 'x64' && v8Says(PROCESSOR)
    ? 'Node 24 or newer, about twice: this processor has 256-bit SIMD'
    : undefined;
}

const PROCESSOR = ['AVX2=1', 'FMA3=1'];
let v8Options: string | undefined;

/** Whether V8 names all of these among its options and what it has found of the processor. */
function v8Says(words: readonly string[]): boolean {
  v8Options ??= String(
    spawnSync(process.execPath, ['--v8-options'], {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
      timeout: 10_000,
    }).stdout,
  );
  return words.every((word) => v8Options?.includes(word));
}
