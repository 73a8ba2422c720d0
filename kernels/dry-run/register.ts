import * as tf from '@tensorflow/tfjs-core';
import type { Op } from '../runtime/op.js';
import { DRY_RUN, type DryRunBackend } from './backend.js';
import { OWN } from './own.js';
import { STOCK, type DryKernel } from './stock.js';

/** Registers what ops and tfjs's own kernels do in a dry run. */
export function registerDryRun(ops: readonly Op[]): void {
  for (const [name, kernel] of Object.entries(STOCK)) register(name, kernel);
  for (const op of ops) {
    const own = OWN[op.name];
    register(op.name, (inputs, attrs, backend) => {
      const handWritten = backend.target === 'wasm' ? op.wasm : backend.target === 'webgpu' ? op.webgpu : undefined;
      if (own !== undefined && handWritten !== undefined) return own(inputs, attrs, backend);
      return tf.tidy(() => op.reference(inputs as Record<string, tf.Tensor>, attrs as tf.NamedAttrMap));
    });
  }
}

function register(kernelName: string, kernel: DryKernel): void {
  tf.registerKernel({
    kernelName,
    backendName: DRY_RUN,
    kernelFunc: ({ inputs, attrs, backend }) =>
      kernel(inputs as Record<string, tf.TensorInfo>, attrs ?? {}, backend as DryRunBackend),
  });
}
