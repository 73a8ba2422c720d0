// Opens the webgpu device, computes and closes it: the process has to end by itself. See test/device/open.test.ts.
import * as tf from '@tensorflow/tfjs-core';
import { nodeHost } from '../../src/device/node.js';
import { openDevice } from '../../src/device/open.js';

const device = await openDevice('webgpu', nodeHost);
const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
const y = tf.matMul(x, x);
console.log([...(await device.guard(y.data()))].join());
tf.dispose([x, y]);
await device.close();
