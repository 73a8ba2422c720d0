import type { TensorInfo } from '@tensorflow/tfjs-core';
import { forEach } from '../../../runtime/webgpu/repeat-lines.js';
import type { MatrixUnit } from '../../../runtime/webgpu/matrix-unit.js';
import { gpuDispatch, gpuOutput, type GpuParams } from '../../../runtime/webgpu/dispatch.js';
import { element, fill, kindOf, type GpuView, type Kind } from '../job-text.js';
import * as views from '../wgsl.generated.js';
import * as wgsl from './wgsl.generated.js';

/** Rows of packed matrices: a multiple of what any workgroup takes. */
const ROWS_ALIGN = 128;

/** A matrix `[m, k]` to be packed, times a scale. */
export interface PackedSource {
  readonly view: GpuView;
  readonly k: number;
  readonly scale: number;
}

/** Matrices with the same rows beside each other, as tile.wgsl reads them; the tensors are the caller's. */
export interface PackedRows {
  readonly packed: TensorInfo;
  /** By row: what undoes its factor. */
  readonly unscale: TensorInfo;
  /** vec4u of a row. */
  readonly width: number;
  /** vec4u before each of the matrices. */
  readonly firsts: readonly number[];
}

/** Numbers of a vec4u. */
export function perVector({ element: type }: MatrixUnit): number {
  return type === 'f16' ? 8 : 4;
}

/** Definitions that depend on the type of the factors. */
export function numbersText(unit: MatrixUnit): string {
  return [`const PER = ${perVector(unit)}u;`, unit.element === 'f16' ? wgsl.numbersF16 : wgsl.numbersF32].join('\n');
}

/** Buffers that packing these takes. */
export function packBuffers(sources: readonly PackedSource[]): number {
  return 2 + inputsOf(sources).length;
}

/** Records the packing of matrices of `m` rows, each to begin at a multiple of `tileK`. */
export function packRows(
  backend: unknown,
  unit: MatrixUnit,
  m: number,
  tileK: number,
  sources: readonly PackedSource[],
): PackedRows {
  const per = perVector(unit);
  const padded = Math.ceil(m / ROWS_ALIGN) * ROWS_ALIGN;
  const ends: number[] = [];
  for (const { k } of sources) ends.push((ends[ends.length - 1] ?? 0) + Math.ceil(k / tileK) * tileK);
  const firsts = [0, ...ends.slice(0, -1)];
  const width = (ends[ends.length - 1] as number) / per;
  // Of four bytes each, as tfjs has no other.
  const [packed, unscale] = [gpuOutput(backend, [padded, 4 * width]), gpuOutput(backend, [padded])] as const;
  const inputs = inputsOf(sources);
  const params: GpuParams = sources.flatMap(({ view, k, scale }, i): GpuParams => [
    ...(['u', 'u', 'u'] as const).map((type, at) => [type, [k, firsts[i], ends[i]][at] as number] as const),
    ...([
      ['f', scale],
      ['u', view.offset],
      ['u', view.stride],
      ['u', 0],
      ['u', 0],
    ] as const),
  ]);
  const program = {
    name: `matrix/pack/${unit.element}/${inputs.map(({ kind }) => kind[0]).join('')}/${sources.map((source) => inputs.findIndex((input) => isOf(input, source))).join()}`,
    code: () => packText(unit, sources, inputs),
  };
  const y = Math.ceil(padded / 65535);
  gpuDispatch(
    backend,
    program,
    [packed, unscale, ...inputs.map(({ tensor }) => tensor)],
    [['u', m], ['u', padded], ['u', width], ['u', 0], ...params],
    [Math.ceil(padded / y), y, 1],
  );
  return { packed, unscale, width, firsts: firsts.map((first) => first / per) };
}

interface Input {
  readonly tensor: TensorInfo;
  readonly kind: Kind;
}

/** Each tensor once a way that it is read. */
function inputsOf(sources: readonly PackedSource[]): Input[] {
  const inputs: Input[] = [];
  for (const source of sources) {
    if (!inputs.some((input) => isOf(input, source)))
      inputs.push({ tensor: source.view.tensor, kind: kindOf(source.view, source.k) });
  }
  return inputs;
}

function isOf({ tensor, kind }: Input, { view, k }: PackedSource): boolean {
  return tensor.dataId === view.tensor.dataId && kind === kindOf(view, k);
}

function packText(unit: MatrixUnit, sources: readonly PackedSource[], inputs: readonly Input[]): string {
  const readers = sources.map((source, i) => {
    const index = inputs.findIndex((input) => isOf(input, source));
    const view = `params.views[${i}]`;
    const reader = fill((inputs[index] as Input).kind === 'vector' ? views.viewVector : views.viewScalar, {
      READ: `read_${i}`,
      VIEW: `${view}.at`,
      VALUES: `in_${index}`,
      NOTHING: '0u',
    });
    return `${reader}\nfn number_${i}(row: u32, k: u32) -> vec4f { return ${view}.scale * read_${i}(row, k, vec2u(params.rows, ${view}.k)); }`;
  });
  return [
    '@group(0) @binding(0) var<storage, read_write> packed: array<vec4u>;',
    '@group(0) @binding(1) var<storage, read_write> unscale: array<f32>;',
    ...inputs.map(({ kind }, i) => `@group(0) @binding(${i + 2}) var<storage, read> in_${i}: array<${element(kind)}>;`),
    `@group(0) @binding(${inputs.length + 2}) var<uniform> params: Params;`,
    numbersText(unit),
    ...readers,
    forEach(wgsl.pack, { views: sources.length }),
  ].join('\n');
}
