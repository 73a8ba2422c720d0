import { flush, gpuBackend, type GpuBackend } from '../../tfjs/webgpu.js';

/** What compute passes of a stretch of work took on the GPU, in milliseconds. */
export interface GpuTimes {
  /** Sum over the passes. */
  readonly busyMs: number;
  /** From the first pass's beginning to the last one's end: what is more than `busyMs`, the GPU waited for the host. */
  readonly spanMs: number;
  readonly passes: number;
}

/** Passes that one stretch of work can hold; later ones are not counted. */
const MAX_PASSES = 2048;

/**
 * Runs `body`, which must wait for its own results, and takes the time of every compute pass begun in it by timestamp
 * queries: of stock ops and of this package's kernels, whatever records them.
 * @returns times undefined where the device was opened without `timestamp-query`
 */
export async function withGpuClock<T>(
  backend: unknown,
  body: () => Promise<T>,
): Promise<{ value: T; times: GpuTimes | undefined }> {
  const { device } = backend as Partial<GpuBackend>;
  if (device?.features.has('timestamp-query') !== true) return { value: await body(), times: undefined };
  const gpu = gpuBackend(backend);
  // What was recorded before belongs to nobody's time.
  flush(gpu);
  const querySet = device.createQuerySet({ type: 'timestamp', count: 2 * MAX_PASSES });
  let passes = 0;
  const createEncoder = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = (descriptor) => {
    const encoder = descriptor === undefined ? createEncoder() : createEncoder(descriptor);
    const beginPass = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (pass) => {
      if (passes >= MAX_PASSES) return beginPass(pass);
      const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * passes, endOfPassWriteIndex: 2 * passes + 1 };
      passes++;
      return beginPass({ ...pass, timestampWrites });
    };
    return encoder;
  };
  try {
    const value = await body();
    flush(gpu);
    device.createCommandEncoder = createEncoder;
    return { value, times: passes === 0 ? undefined : await readTimes(gpu, querySet, passes) };
  } finally {
    device.createCommandEncoder = createEncoder;
    querySet.destroy();
  }
}

async function readTimes({ device, queue }: GpuBackend, querySet: GPUQuerySet, passes: number): Promise<GpuTimes> {
  const size = 16 * passes;
  const resolved = device.createBuffer({ size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const readable = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  encoder.resolveQuerySet(querySet, 0, 2 * passes, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readable, 0, size);
  queue.submit([encoder.finish()]);
  await readable.mapAsync(GPUMapMode.READ);
  const nanoseconds = new BigUint64Array(readable.getMappedRange().slice(0));
  resolved.destroy();
  readable.destroy();
  let [busy, first, last] = [0, Infinity, 0];
  const origin = nanoseconds[0] as bigint;
  for (let i = 0; i < passes; i++) {
    const begin = Number((nanoseconds[2 * i] as bigint) - origin);
    const end = Number((nanoseconds[2 * i + 1] as bigint) - origin);
    busy += Math.max(0, end - begin);
    first = Math.min(first, begin);
    last = Math.max(last, end);
  }
  return { busyMs: busy / 1e6, spanMs: (last - first) / 1e6, passes };
}
