import type { ESLint } from 'eslint';

/** Owner → member → [type of the value, what it is used for]. */
export declare const TFJS_MEMBERS: Readonly<
  Record<
    | 'engine'
    | 'engine.state'
    | 'tape node'
    | 'wasm'
    | 'wasm.dataIdMap entry'
    | 'wasm.wasm'
    | 'webgpu'
    | 'webgpu.tensorMap entry'
    | 'webgpu.bufferManager',
    Readonly<Record<string, readonly [type: string, user: string]>>
  >
>;
export declare const tfjsPlugin: ESLint.Plugin;
