import { chooseVariant } from '../../../runtime/variant.js';
import { gpuDispatch } from '../../../runtime/webgpu/dispatch.js';
import {
  aStride,
  bindings,
  constants,
  offsets,
  outStride,
  params,
  weightCode,
  type GpuAddends,
  type GpuProduct,
} from '../product.js';
import { shaderPrelude } from '../shader-prelude.js';
import * as readers from '../wgsl.generated.js';
import * as wgsl from './wgsl.generated.js';

interface Tile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Rows of the tile that one invocation computes; it has 4 columns. */
  readonly rows: 4 | 8;
}

const TILES = {
  square: { m: 64, n: 64, k: 16, rows: 8 },
  small: { m: 32, n: 32, k: 16, rows: 4 },
  flat: { m: 16, n: 64, k: 16, rows: 4 },
  tall: { m: 64, n: 16, k: 16, rows: 4 },
} as const satisfies Record<string, Tile>;

function tileFor(m: number, n: number): keyof typeof TILES {
  if (m <= 16) return 'flat';
  if (n <= 16) return 'tall';
  return m <= 32 || n <= 32 ? 'small' : 'square';
}

/** Records one product by tiles of one size. */
export function tiledProduct(backend: unknown, product: GpuProduct, addends: GpuAddends): void {
  const { m, n, k, b } = product;
  // Widths that are no multiple of 4 are read number by number; models have none, so one tile size serves them.
  const vector = [product.aAlongK ? k : m, product.bAlongK ? k : n, n, aStride(product), outStride(product)].every(
    (width) => width % 4 === 0,
  );
  const name = vector ? tileFor(m, n) : 'small';
  const tile = TILES[name];
  const { name: variant, traits } = chooseVariant(backend);
  const texts = [
    wgsl.product,
    vector ? readers.aVector : readers.aScalar,
    vector ? wgsl.outVector : wgsl.outScalar,
    weightCode(b, vector),
  ];
  const program = {
    name: `product/${name}/${vector ? 'vector' : 'scalar'}/${b.name}/${variant}`,
    code: () =>
      [
        shaderPrelude(traits, {
          TILE_M: tile.m,
          TILE_N: tile.n,
          TILE_K: tile.k,
          ROWS: tile.rows,
          EXTRA: 2 + b.tensors.length,
        }),
        ...texts,
      ].join('\n'),
    constants: constants(product),
  };
  const groups = [Math.ceil(n / tile.n), Math.ceil(m / tile.m), 1] as const;
  gpuDispatch(backend, program, bindings(product, addends), params(product, addends), groups, [], offsets(product));
}
