import * as tf from '@tensorflow/tfjs-core';
import type { DryRunBackend } from './backend.js';

/** A kernel that only allocates. */
export type DryKernel = (
  inputs: Record<string, tf.TensorInfo>,
  attrs: Record<string, unknown>,
  backend: DryRunBackend,
) => tf.TensorInfo | tf.TensorInfo[];

const only = (inputs: Record<string, tf.TensorInfo>): tf.TensorInfo => Object.values(inputs)[0] as tf.TensorInfo;
const listed = (inputs: Record<string, tf.TensorInfo>): tf.TensorInfo[] => Object.values(inputs);

const elementwise: DryKernel = (inputs, _attrs, backend) => backend.output(only(inputs).shape, only(inputs).dtype);
const alias: DryKernel = (inputs, _attrs, backend) => backend.alias(only(inputs));

function broadcast(dtype: 'bool' | undefined): DryKernel {
  return (inputs, _attrs, backend) => {
    const { a, b } = inputs as Record<'a' | 'b', tf.TensorInfo>;
    return backend.output(
      tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape),
      dtype ?? tf.upcastType(a.dtype, b.dtype),
    );
  };
}

const reduction: DryKernel = (inputs, attrs, backend) => {
  const x = only(inputs);
  const axes = tf.util.parseAxisParam(
    (attrs['axis'] ?? attrs['reductionIndices'] ?? undefined) as number | number[],
    x.shape,
  );
  const [kept, all] = [
    x.shape.filter((_, i) => !axes.includes(i)),
    x.shape.map((size, i) => (axes.includes(i) ? 1 : size)),
  ];
  return backend.output(attrs['keepDims'] === true ? all : kept, x.dtype);
};

const BINARY = [
  'Add',
  'Sub',
  'Multiply',
  'RealDiv',
  'Minimum',
  'Maximum',
  'Pow',
  'SquaredDifference',
  'FloorDiv',
  'Mod',
];
const COMPARISONS = ['Greater', 'GreaterEqual', 'Less', 'LessEqual', 'Equal', 'NotEqual', 'LogicalAnd', 'LogicalOr'];
const UNARY = [
  ...[
    'Exp',
    'Expm1',
    'Log',
    'Log1p',
    'Neg',
    'Sqrt',
    'Rsqrt',
    'Square',
    'Abs',
    'Sigmoid',
    'Tanh',
    'Relu',
    'Erf',
    'Sin',
    'Cos',
    'Floor',
  ],
  ...[
    'Ceil',
    'Round',
    'Reciprocal',
    'Sign',
    'Softplus',
    'Softmax',
    'LogSoftmax',
    'LogicalNot',
    'ClipByValue',
    'Step',
    'Elu',
    'ZerosLike',
    'OnesLike',
  ],
];
const REDUCTIONS = ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'All', 'Any'];

/** Sizes of the outputs of tfjs's own kernels. */
export const STOCK: Readonly<Record<string, DryKernel>> = {
  ...Object.fromEntries(BINARY.map((name) => [name, broadcast(undefined)])),
  ...Object.fromEntries(COMPARISONS.map((name) => [name, broadcast('bool')])),
  ...Object.fromEntries(UNARY.map((name) => [name, elementwise])),
  ...Object.fromEntries(REDUCTIONS.map((name) => [name, reduction])),
  AddN: elementwise,
  Identity: alias,
  Cast: (inputs, attrs, backend) =>
    attrs['dtype'] === only(inputs).dtype
      ? backend.alias(only(inputs))
      : backend.output(only(inputs).shape, attrs['dtype'] as tf.DataType),
  Reshape: (inputs, attrs, backend) => {
    const x = only(inputs);
    return backend.alias(x, tf.util.inferFromImplicitShape(attrs['shape'] as number[], tf.util.sizeFromShape(x.shape)));
  },
  ExpandDims: (inputs, attrs, backend) => {
    const shape = [...only(inputs).shape];
    const dim = attrs['dim'] as number;
    shape.splice(dim < 0 ? dim + shape.length + 1 : dim, 0, 1);
    return backend.alias(only(inputs), shape);
  },
  BatchMatMul: (inputs, attrs, backend) => {
    const { a, b } = inputs as Record<'a' | 'b', tf.TensorInfo>;
    const rows = a.shape.at(attrs['transposeA'] === true ? -1 : -2) as number;
    const columns = b.shape.at(attrs['transposeB'] === true ? -2 : -1) as number;
    return backend.output([
      ...tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2)),
      rows,
      columns,
    ]);
  },
  Transpose: (inputs, attrs, backend) =>
    backend.output(
      (attrs['perm'] as number[]).map((i) => only(inputs).shape[i] as number),
      only(inputs).dtype,
    ),
  Slice: (inputs, attrs, backend) => {
    const x = only(inputs);
    const [begin, size] = [attrs['begin'] as number[], attrs['size'] as number[]];
    return backend.output(
      x.shape.map((length, i) => (size[i] === -1 ? length - (begin[i] as number) : (size[i] as number))),
      x.dtype,
    );
  },
  Tile: (inputs, attrs, backend) =>
    backend.output(
      only(inputs).shape.map((length, i) => length * ((attrs['reps'] as number[])[i] as number)),
      only(inputs).dtype,
    ),
  Concat: (inputs, attrs, backend) => {
    const parts = listed(inputs);
    const [axis] = tf.util.parseAxisParam(attrs['axis'] as number, (parts[0] as tf.TensorInfo).shape) as [number];
    return backend.output(
      tf.backend_util.computeOutShape(
        parts.map((part) => part.shape),
        axis,
      ),
      parts[0]?.dtype,
    );
  },
  SplitV: (inputs, attrs, backend) => {
    const x = only(inputs);
    const [axis] = tf.util.parseAxisParam(attrs['axis'] as number, x.shape) as [number];
    const sizes = tf.backend_util.prepareSplitSize(x as tf.Tensor, attrs['numOrSizeSplits'] as number | number[], axis);
    return sizes.map((size) =>
      backend.output(
        x.shape.map((length, i) => (i === axis ? size : length)),
        x.dtype,
      ),
    );
  },
  Pack: (inputs, attrs, backend) => {
    const parts = listed(inputs);
    const shape = [...only(inputs).shape];
    shape.splice(attrs['axis'] as number, 0, parts.length);
    return backend.output(shape, parts[0]?.dtype);
  },
  Fill: (_inputs, attrs, backend) =>
    backend.output(attrs['shape'] as number[], (attrs['dtype'] as tf.DataType | undefined) ?? 'float32'),
  Range: (_inputs, attrs, backend) => {
    const { start, stop, step } = attrs as Record<'start' | 'stop' | 'step', number>;
    return backend.output(
      [Math.max(0, Math.ceil((stop - start) / step))],
      (attrs['dtype'] as tf.DataType | undefined) ?? 'float32',
    );
  },
  Select: (inputs, _attrs, backend) => {
    const { t, e } = inputs as Record<'t' | 'e', tf.TensorInfo>;
    return backend.output(t.shape, tf.upcastType(t.dtype, e.dtype));
  },
  GatherV2: (inputs, attrs, backend) => {
    const { x, indices } = inputs as Record<'x' | 'indices', tf.TensorInfo>;
    const [axis] = tf.util.parseAxisParam((attrs['axis'] as number | undefined) ?? 0, x.shape) as [number];
    return backend.output([...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)], x.dtype);
  },
};
