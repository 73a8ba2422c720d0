import { chooseVariant } from '../../../runtime/variant.js';
import { gpuDispatch, gpuWorkgroups, type GpuParams } from '../../../runtime/webgpu/dispatch.js';
import {
  aStride,
  bindings,
  constants,
  offsets,
  params,
  weightCode,
  type GpuAddends,
  type GpuProduct,
} from '../product.js';
import { shaderPrelude } from '../shader-prelude.js';
import * as readers from '../wgsl.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * Up to this many tokens a product is a few dot products with every row of the weight, limited by reading the weight.
 */
export const FEW_ROWS = 8;

/**
 * Records the product as dot products of B's rows with a few vectors, the rows of A: for m up to some 16. B lies along
 * k. Element (n, m) is written at n · strides.row + m · strides.vector, so that the two factors may change roles.
 */
export function gpuRowProduct(
  backend: unknown,
  product: GpuProduct,
  addends: GpuAddends,
  strides: { row: number; vector: number },
): void {
  const { m, n, k, b } = product;
  const { name: variant, traits } = chooseVariant(backend);
  const few = m <= 1 ? 1 : m <= 4 ? 4 : 8;
  const vector = k % 4 === 0 && product.aAlongK && aStride(product) % 4 === 0;
  const texts = [
    wgsl.fewRows,
    traits.subgroups ? wgsl.reduceSubgroups : wgsl.reduceMemory,
    vector ? readers.aVector : readers.aScalar,
    weightCode(b, k % 4 === 0),
  ];
  const program = {
    name: `product/rows${few}/${vector ? 'vector' : 'scalar'}${k % 4 === 0 ? '' : '/odd'}/${b.name}/${variant}`,
    code: () => [shaderPrelude(traits, { FEW: few, EXTRA: 2 + b.tensors.length }), ...texts].join('\n'),
    constants: constants(product),
  };
  const [x, y] = gpuWorkgroups(n, 4);
  const own: GpuParams = [
    ['u', strides.row],
    ['u', strides.vector],
  ];
  gpuDispatch(
    backend,
    program,
    bindings(product, addends),
    [...params(product, addends), ...own],
    [x, y, Math.ceil(m / few)],
    [],
    offsets(product),
  );
}
