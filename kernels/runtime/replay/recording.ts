import { flush, type GpuBackend } from '../../tfjs/webgpu.js';
import { stateOf } from '../webgpu/cache.js';
import type { Command, Write } from './commands.js';
import { madeInPlace } from './in-place.js';
import { PoolWatch, type Lodger } from './pool.js';
import type { Recorded, StepInputs } from './recorder.js';

/** A step that can be done again with other inputs. */
export class Recording implements Lodger {
  busy = 0;
  lost = false;
  /** Bytes that the pool does not have for others. */
  readonly ownBytes: number;
  private readonly segments: readonly (readonly Command[])[];
  private readonly writes: readonly Write[];
  private readonly dispatches: number;
  private readonly buffers = new Set<GPUBuffer>();
  private readonly watch: PoolWatch;

  /** @param targets see {@link madeInPlace} */
  constructor(
    private readonly gpu: GpuBackend,
    { segments, writes, scratch, own, dispatches }: Recorded,
    targets: ReadonlySet<GPUBuffer>,
  ) {
    this.watch = PoolWatch.of(gpu);
    this.segments = madeInPlace(
      segments,
      targets,
      new Set([...scratch, ...own.keys()].filter((buffer) => !writes.some(({ use }) => use.buffer === buffer))),
      gpu.device,
    );
    this.writes = writes.filter(({ source, tensor }) => tensor || source !== undefined);
    this.dispatches = dispatches;
    for (const [buffer, returned] of own) this.watch.own(this, buffer, returned);
    for (const buffer of scratch) this.watch.share(this, buffer);
    for (const buffer of buffersOf(segments)) {
      if (!own.has(buffer) && !scratch.has(buffer)) this.watch.read(this, buffer);
      this.buffers.add(buffer);
    }
    for (const buffer of [...own.keys(), ...scratch]) this.buffers.add(buffer);
    this.ownBytes = [...own.keys()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Whether nobody else has a buffer that this works in, and all that it reads is there. */
  get ready(): boolean {
    return !this.lost && this.busy === 0;
  }

  /** Does the step. `then` may add copies of what it made. */
  run(inputs: StepInputs, then: (encoder: GPUCommandEncoder) => void): void {
    const { gpu } = this;
    const { device, queue } = gpu;
    // Views, encoders and the rest of what tfjs has recorded come first.
    flush(gpu);
    for (const write of this.writes) queue.writeBuffer(write.use.buffer, 0, bytesOf(write, inputs));
    const last = this.segments.at(-1);
    for (const commands of this.segments) {
      const encoder = device.createCommandEncoder();
      encode(encoder, commands);
      if (commands === last) then(encoder);
      queue.submit([encoder.finish()]);
    }
    stateOf(gpu).dispatches += this.dispatches;
  }

  dispose(): void {
    this.lost = true;
    this.watch.leave(this, this.buffers);
    this.buffers.clear();
  }
}

function encode(encoder: GPUCommandEncoder, commands: readonly Command[]): void {
  let pass: GPUComputePassEncoder | undefined;
  let pipeline: GPUComputePipeline | undefined;
  for (const command of commands) {
    if (command.kind === 'copy') {
      pass?.end();
      pass = undefined;
      encoder.copyBufferToBuffer(
        command.from.buffer,
        command.fromOffset,
        command.to.buffer,
        command.toOffset,
        command.size,
      );
      continue;
    }
    if (pass === undefined) {
      pass = encoder.beginComputePass();
      pipeline = undefined;
    }
    if (command.pipeline !== pipeline) pass.setPipeline((pipeline = command.pipeline));
    pass.setBindGroup(0, command.group);
    const { counts } = command;
    pass.dispatchWorkgroups(counts[0], counts[1], counts[2]);
  }
  pass?.end();
}

function bytesOf({ source, bytes }: Write, inputs: StepInputs): Uint8Array<ArrayBuffer> | ArrayBuffer {
  if (source === undefined) return bytes as Uint8Array<ArrayBuffer>;
  const input = inputs[source.name];
  if (source.kind === 'seed') return source.make(((input as number) ^ source.mix) >>> 0);
  const values = input as Int32Array<ArrayBuffer> | Float32Array<ArrayBuffer>;
  return new Uint8Array(values.buffer, values.byteOffset + source.offset, bytes.length);
}

function* buffersOf(segments: readonly (readonly Command[])[]): Generator<GPUBuffer> {
  for (const command of segments.flat()) {
    if (command.kind === 'copy') yield* [command.from.buffer, command.to.buffer];
    else for (const { buffer } of command.uses) yield buffer;
  }
}
