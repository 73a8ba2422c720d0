// What the public types of lowrank name of TensorFlow.js, WebGPU and @huggingface/tokenizers: every value of theirs is
// one of these.
export type DataType = 'float32' | 'int32' | 'bool' | 'complex64' | 'string';

export declare namespace Rank {
  type R0 = 'R0';
  type R1 = 'R1';
  type R2 = 'R2';
  type R3 = 'R3';
  type R4 = 'R4';
  type R5 = 'R5';
  type R6 = 'R6';
}
export type Rank = Rank.R0 | Rank.R1 | Rank.R2 | Rank.R3 | Rank.R4 | Rank.R5 | Rank.R6;

export interface TensorInfo {
  dataId: object;
  shape: number[];
  dtype: DataType;
}

export interface Tensor<R extends Rank = Rank> extends TensorInfo {
  readonly id: number;
  readonly size: number;
  readonly isDisposed: boolean;
  /** The rank in the type of a tensor; undefined in every one. */
  readonly rankType: string;
  data(): Promise<Float32Array | Int32Array | Uint8Array>;
  dispose(): void;
  clone(): Tensor<R>;
}
export type Scalar = Tensor<Rank.R0>;
export type Tensor1D = Tensor<Rank.R1>;
export type Tensor2D = Tensor<Rank.R2>;
export type Tensor3D = Tensor<Rank.R3>;
export type Tensor4D = Tensor<Rank.R4>;

export interface Variable<R extends Rank = Rank> extends Tensor<R> {
  name: string;
  readonly trainable: boolean;
  assign(newValue: Tensor<R>): void;
}

export type BackendValues = Float32Array | Int32Array | Uint8Array | Uint8Array[];
export declare class KernelBackend {}
export type NamedAttrMap = Record<string, unknown>;
export type NamedTensorMap = Record<string, Tensor>;
export type NamedTensorInfoMap = Record<string, TensorInfo | undefined>;
export type TensorContainer = unknown;
export type GradConfig = object;

export type GPU = object;
export type GPUAdapter = object;
export type GPUBindGroup = object;
export type GPUBindGroupLayout = object;
export type GPUBuffer = object;
export type GPUBufferBinding = object;
export type GPUCommandEncoder = object;
export type GPUComputePassEncoder = object;
export type GPUComputePipeline = object;
export type GPUDevice = object;
export type GPUQueue = object;
export type GPUSupportedLimits = object;

export declare class Tokenizer {}
