import type { KernelVariant } from '../../kernels/index.js';
import type { SpawnThread } from '../../kernels/runtime/threads/pool.js';
import type { WasmSimd } from '../../kernels/runtime/wasm/module.js';
import type { DeviceError } from '../errors.js';

/**
 * What `--device` takes. `node` and `node-gpu` are one code path, TensorFlow's own library, on the CPU or with CUDA.
 */
export const DEVICE_NAMES = ['webgpu', 'wasm', 'node-gpu', 'node', 'cpu'] as const;
/** A device that can be opened by name. */
export type DeviceName = (typeof DEVICE_NAMES)[number];
/** A device by name, or `auto`: the fastest that the host has. */
export type DeviceChoice = DeviceName | 'auto';

/** The tfjs backend that each device computes on. */
export const BACKEND_OF: Readonly<Record<DeviceName, string>> = {
  webgpu: 'webgpu',
  wasm: 'wasm',
  'node-gpu': 'tensorflow',
  node: 'tensorflow',
  cpu: 'cpu',
};

/** An opened device; its backend is tfjs's current one. */
export interface Device {
  readonly name: DeviceName;
  readonly backend: string;
  /** Adapter and driver, or what computes otherwise. */
  readonly description: string;
  /** Its name alone, where the description says more. */
  readonly label?: string;
  /** Why this one and not another. */
  readonly reason: string;
  /** True for a GPU that is emulated on the CPU. */
  readonly software: boolean;
  /** Optional capabilities that kernels may use. */
  readonly features: readonly string[];
  /** Waits for `work`, or fails with what befell the device meanwhile: lost, or out of memory. */
  guard<T>(work: Promise<T>): Promise<T>;
  /** Ends threads and releases the backend, with all tensors on it. */
  close(): Promise<void>;
}

/** What the surroundings offer: a browser or Node. */
export interface Host {
  /**
   * Why a search for a GPU would be in vain. `auto` then does without one; a device that is asked for by name is
   * searched for all the same.
   */
  noGpu?(): string | undefined;
  /** The WebGPU entry point, or why there is none. */
  gpu(): Promise<GPU | { readonly missing: string }>;
  /** Loads TensorFlow's native binding and registers its backend. @throws when it is not installed or does not load. */
  tensorflow?(name: 'node' | 'node-gpu'): Promise<void>;
  /** How WASM kernels get threads; without it they run on the calling one. */
  readonly threads?: ThreadHost;
  /**
   * The most of SIMD that WASM kernels may use. Switches on what the engine keeps behind a flag. Default: `relaxed`.
   */
  wasmSimd?(): WasmSimd;
  /** What would make a device faster here, where something is known. */
  faster?(name: DeviceName): string | undefined;
  /** Which code kernels run on WebGPU unless told otherwise: `auto`, or what the user has set. */
  kernelVariant?(): string;
  /** Whether steps on WebGPU are recorded and replayed unless told otherwise. Default true. */
  replay?(): boolean;
  /** Bytes of memory that this process can have, where they are known. */
  memory?(): number;
  /** Takes back what `gpu` put where tfjs finds it. */
  release?(): void;
}

export interface ThreadHost {
  /** Threads that kernels run on unless told otherwise, the calling one included. */
  count(): number;
  /** tfjs's single-threaded SIMD binary. Absent where tfjs's own start-up already gives it shared memory. */
  binary?(): Promise<Uint8Array>;
  readonly spawn: SpawnThread;
}

export interface DeviceOptions {
  /** Threads of the `wasm` device, the calling one included; the host's count unless given. */
  readonly threads?: number | undefined;
  /** Which code kernels run on WebGPU; the host's choice unless given. */
  readonly variant?: KernelVariant | undefined;
  /** Whether training steps on WebGPU are recorded and replayed; the host's choice unless given. */
  readonly replay?: boolean | undefined;
}

/** A promise that only ever fails, and the way to make it fail. */
export class Failure {
  private reject: ((error: DeviceError) => void) | undefined;
  private readonly promise = new Promise<never>((_resolve, reject) => {
    this.reject = reject;
  });

  constructor() {
    // Without a listener an early failure would end the process before anyone asks for it.
    this.promise.catch(() => undefined);
  }

  fail(error: DeviceError): void {
    this.reject?.(error);
  }

  guard<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.promise]);
  }
}
