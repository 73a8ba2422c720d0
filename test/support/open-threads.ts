// Opens the wasm device with threads, computes, and leaves it open: the process has to end all the same. See
// test/device/wasm.test.ts.
import * as tf from '@tensorflow/tfjs-core';
import { parallelFor } from '../../kernels/runtime/threads/threads.js';
import { wasmOffset } from '../../kernels/runtime/wasm/module.js';
import { wasmSource } from '../../kernels/swiglu/wasm.generated.js';
import { nodeHost } from '../../src/device/node.js';
import { openWasm } from '../../src/device/wasm.js';

const { description } = await openWasm('asked for by name', nodeHost);
const x = tf.ones([1_000_000]);
const at = wasmOffset(tf.backend(), x);
parallelFor(tf.backend(), wasmSource, 'forward', [at, at, at, 0], { count: 1_000_000, cost: 2 });
const values = await x.data<'float32'>();
console.log(JSON.stringify({ description, equal: values.every((value) => value === values[0]) }));
