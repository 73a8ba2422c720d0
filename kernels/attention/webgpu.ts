import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Inputs } from '../runtime/op.js';
import { chooseVariant } from '../runtime/variant.js';
import {
  gpuDispatch,
  gpuIsSoftware,
  gpuOutput,
  gpuRelease,
  gpuWorkgroups,
  type GpuParams,
  type GpuProgram,
} from '../runtime/webgpu/dispatch.js';
import { attendsByLanes, backwardLanes, forwardLanes } from './subgroup-software.js';
import type { AttentionShape } from './shape.js';
import * as wgsl from './wgsl.generated.js';

/** Queries or keys a tile and dimensions a chunk, as in include/tile.wgsl. */
const TILE = 32;
const CHUNK = 8;

type Named<N extends string> = Record<N, TensorInfo>;

/** Rows of a product staged at once: as many as stay within 16 KiB of workgroup memory beside the rest. */
function stagedRows(headDim: number): number {
  return headDim <= 128 ? 8 : headDim <= 256 ? 4 : 1;
}

/** Eighths of a head dimension, rounded up. */
function columns(headDim: number): number {
  return Math.ceil(headDim / 8);
}

/**
 * A program for the head dimensions of one number of eighths: an array held in registers needs its size in the text.
 */
function tiled(backend: unknown, name: string, text: string, headDim: number): GpuProgram {
  const software = gpuIsSoftware(backend);
  const most = software ? Math.max(16, columns(headDim)) : columns(headDim);
  const constants = [`COLUMNS = ${most}u`, `ROWS = ${stagedRows(headDim)}u`, `UNROLLED = ${!software}`];
  return { name: `attention/${name}-${most}`, code: `${constants.map((c) => `const ${c};\n`).join('')}${text}` };
}

function tileParams(s: AttentionShape): GpuParams {
  const sizes = [
    s.queryLength,
    s.keyLength,
    s.numHeads,
    s.numKvHeads,
    s.headDim,
    s.window,
    s.hasStarts,
    CHUNK,
    stagedRows(s.headDim),
    columns(s.headDim),
  ];
  return [...sizes.map((x) => ['u', x] as const), ['f', s.scale]];
}

/** New tensors like q and k, turned by the tables (`back`: by the opposite angles). */
function rotate(
  backend: unknown,
  inputs: Inputs,
  q: TensorInfo,
  k: TensorInfo,
  s: AttentionShape,
  back: boolean,
): [TensorInfo, TensorInfo] {
  const { cos, sin, starts } = inputs as Named<'cos' | 'sin' | 'starts'>;
  const [qOut, kOut] = [gpuOutput(backend, q.shape), gpuOutput(backend, k.shape)];
  // Four pairs at a time, where the processor runs shaders: it spends most of its time on finding them.
  const quads = chooseVariant(backend).traits.lanes && s.headDim % 4 === 0 && s.rotaryDim % 8 === 0;
  const each = quads ? (s.headDim - s.rotaryDim / 2) / 4 : s.headDim;
  const [queries, keys] = [s.batch * s.queryLength * s.numHeads * each, s.batch * s.keyLength * s.numKvHeads * each];
  const sizes = [
    s.queryLength,
    s.keyLength,
    s.numHeads,
    s.numKvHeads,
    s.hasStarts,
    s.headDim,
    s.rotaryDim / 2,
    s.maxPosition,
    queries,
    keys,
  ];
  const params: GpuParams = [...sizes.map((x) => ['u', x] as const), ['f', back ? -1 : 1]];
  const program = quads
    ? { name: 'attention/rotate-quads', code: wgsl.rotateQuads }
    : { name: 'attention/rotate', code: wgsl.rotate };
  gpuDispatch(
    backend,
    program,
    [q, k, cos, sin, starts, qOut, kOut],
    params,
    gpuWorkgroups(queries + keys, quads ? 64 : 256),
  );
  return [qOut, kOut];
}

/** Runs `body` with q and k as the scores take them. */
function withRotated<T>(
  backend: unknown,
  inputs: Inputs,
  s: AttentionShape,
  body: (q: TensorInfo, k: TensorInfo) => T,
): T {
  const { q, k } = inputs as Named<'q' | 'k'>;
  if (s.rotaryDim === 0) return body(q, k);
  const rotated = rotate(backend, inputs, q, k, s, false);
  const result = body(...rotated);
  for (const tensor of rotated) gpuRelease(backend, tensor);
  return result;
}

export function forwardWebGpu(backend: unknown, inputs: Inputs, s: AttentionShape): TensorInfo[] {
  const { q, v, starts } = inputs as Named<'q' | 'v' | 'starts'>;
  const o = gpuOutput(backend, q.shape);
  const lse = gpuOutput(backend, [s.batch * s.numHeads * s.queryLength]);
  withRotated(backend, inputs, s, (turnedQ, turnedK) => {
    if (attendsByLanes(backend, s)) {
      forwardLanes(backend, { q: turnedQ, k: turnedK, v, starts, o, lse }, s);
      return;
    }
    const groups = [Math.ceil(s.queryLength / TILE), s.numHeads, s.batch] as const;
    gpuDispatch(
      backend,
      tiled(backend, 'forward', wgsl.forward, s.headDim),
      [turnedQ, turnedK, v, starts, o, lse],
      tileParams(s),
      groups,
    );
  });
  return [o, lse];
}

export function backwardWebGpu(backend: unknown, inputs: Inputs, s: AttentionShape): TensorInfo[] {
  const { dy, q, k, v, o, lse, starts } = inputs as Named<'dy' | 'q' | 'k' | 'v' | 'o' | 'lse' | 'starts'>;
  const [dq, dk, dv] = [gpuOutput(backend, q.shape), gpuOutput(backend, k.shape), gpuOutput(backend, v.shape)];
  withRotated(backend, inputs, s, (turnedQ, turnedK) => {
    if (attendsByLanes(backend, s)) {
      backwardLanes(backend, { q: turnedQ, k: turnedK, v, starts, dy, lse, dq, dk, dv }, s);
      return;
    }
    const rows = s.batch * s.numHeads * s.queryLength;
    const stats = gpuOutput(backend, [rows, 2]);
    const statsParams: GpuParams = [
      ['u', s.queryLength],
      ['u', s.numHeads],
      ['u', s.headDim],
      ['u', rows],
    ];
    gpuDispatch(
      backend,
      { name: 'attention/backward-stats', code: wgsl.backwardStats },
      [dy, o, lse, stats],
      statsParams,
      gpuWorkgroups(rows, 1),
    );
    const read = [turnedQ, turnedK, v, starts, dy, stats];
    const tiles = (length: number): number => Math.ceil(length / TILE);
    gpuDispatch(
      backend,
      tiled(backend, 'backward-queries', wgsl.backwardQueries, s.headDim),
      [...read, dq],
      tileParams(s),
      [tiles(s.queryLength), s.numHeads, s.batch],
    );
    gpuDispatch(
      backend,
      tiled(backend, 'backward-keys', wgsl.backwardKeys, s.headDim),
      [...read, dk, dv],
      tileParams(s),
      [tiles(s.keyLength), s.numKvHeads, s.batch],
    );
    gpuRelease(backend, stats);
  });
  if (s.rotaryDim === 0) return [dq, dk, dv];
  const turnedBack = rotate(backend, inputs, dq, dk, s, true);
  gpuRelease(backend, dq);
  gpuRelease(backend, dk);
  return [...turnedBack, dv];
}
