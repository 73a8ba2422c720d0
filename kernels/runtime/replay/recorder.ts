import { replaceMethod } from '../../tfjs/replace-method.js';
import {
  bufferOf,
  flush,
  forgetHostValues,
  hostValues,
  replaceGpuMethod,
  setBuffer,
  takeBuffer,
  type GpuBackend,
} from '../../tfjs/webgpu.js';
import { stateOf, type BackendState, packParams, type SeededParams } from '../webgpu/cache.js';
import type { Command, Group, InputBytes, InputSeed, Log, Use, Write } from './commands.js';
import { PoolWatch } from './pool.js';

/** What a step takes from the host: arrays that it makes tensors of as they are, and seeds. */
export type StepInputs = Readonly<Record<string, Int32Array | Float32Array | number>>;

/**
 * Buffers up to this size belong to a recording: tensors that live from step to step, a loss or a norm, then never get
 * in its way.
 */
const OWN_BYTES = 1024;

/** A recorded step. */
export interface Recorded extends Log {
  /** Buffers of the pool that it works in. */
  readonly scratch: ReadonlySet<GPUBuffer>;
  /** Buffers that the pool does not get back, and whether the tensors that they were made for are gone. */
  readonly own: ReadonlyMap<GPUBuffer, boolean>;
  /** This package's dispatches. */
  readonly dispatches: number;
  /** Why it cannot be repeated, if so. */
  readonly problem: string | undefined;
}

/**
 * Runs `body`, which must not wait for anything, and takes down what it asks of the device. All of it is done as ever.
 *
 * What the host writes gets buffers that nothing else is in: a repetition finds constants where they are, and can put
 * its inputs in place before it begins.
 */
export function record<T>(gpu: GpuBackend, inputs: StepInputs, body: () => T): { value: T; recorded: Recorded } {
  flush(gpu);
  const recorder = new Recorder(gpu, inputs);
  const stop = recorder.listen();
  try {
    const value = body();
    flush(gpu);
    return { value, recorded: recorder.finish() };
  } catch (error) {
    flush(gpu);
    recorder.abandon();
    throw error;
  } finally {
    stop();
  }
}

class Recorder {
  private readonly state: BackendState;
  private readonly watch: PoolWatch;
  private readonly dispatchesBefore: number;
  private readonly inputsByMemory = new Map<ArrayBufferLike, { name: string; begin: number }>();
  private readonly segments: Command[][] = [[]];
  private readonly writes: Write[] = [];
  private readonly groups = new Map<GPUBindGroup, Group>();
  /** How often each buffer was handed out. */
  private readonly turns = new Map<GPUBuffer, number>();
  private readonly own = new Map<GPUBuffer, boolean>();
  private problem: string | undefined;

  constructor(
    private readonly gpu: GpuBackend,
    private readonly inputs: StepInputs,
  ) {
    this.state = stateOf(gpu);
    this.watch = PoolWatch.of(gpu);
    this.dispatchesBefore = this.state.dispatches;
    for (const [name, value] of Object.entries(inputs)) {
      if (typeof value !== 'number') this.inputsByMemory.set(value.buffer, { name, begin: value.byteOffset });
    }
  }

  /** @returns what ends it. */
  listen(): () => void {
    const { gpu, state, watch } = this;
    const { device, queue } = gpu;
    const { recentGroups, olderGroups } = state;
    // Cached groups do not tell what they bind.
    Object.assign(state, { recentGroups: new Map(), olderGroups: new Map() });
    state.onSeeded = (buffer, params) => {
      this.seeded(buffer, params);
    };
    watch.listener = {
      acquired: (buffer, usage) => {
        this.turns.set(buffer, (this.turns.get(buffer) ?? 0) + 1);
        if ((usage & GPUBufferUsage.UNIFORM) !== 0 || buffer.size <= OWN_BYTES) this.own.set(buffer, false);
      },
      withholds: (buffer) => {
        if (!this.own.has(buffer)) return false;
        this.own.set(buffer, true);
        return true;
      },
    };
    const write = queue.writeBuffer.bind(queue);
    const back = [
      replaceMethod(
        device,
        'createCommandEncoder',
        (create) => (descriptor) => this.listenTo(descriptor === undefined ? create() : create(descriptor)),
      ),
      replaceMethod(device, 'createBindGroup', (create) => (descriptor) => {
        const group = create(descriptor);
        this.groups.set(group, this.groupOf(descriptor));
        return group;
      }),
      replaceMethod(
        queue,
        'writeBuffer',
        () =>
          ((buffer: GPUBuffer, at: number, data: ArrayBuffer, first?: number, size?: number) => {
            if (at !== 0 || !(data instanceof ArrayBuffer)) this.problem ??= 'it writes in a way that is not known';
            this.written(buffer, new Uint8Array(data, first ?? 0, size ?? data.byteLength), false);
            write(buffer, at, data, first ?? 0, size ?? data.byteLength);
          }) as GPUQueue['writeBuffer'],
      ),
      replaceGpuMethod(gpu, 'submit', (submit) => () => {
        submit();
        this.segments.push([]);
      }),
      replaceGpuMethod(gpu, 'upload', (upload) => (dataId) => {
        const values = hostValues(gpu, dataId);
        if (bufferOf(gpu, dataId) !== undefined || values === null || values === undefined) return upload(dataId);
        setBuffer(gpu, dataId, this.uploaded(values, write));
        forgetHostValues(gpu, dataId);
      }),
    ];
    return () => {
      Object.assign(state, { recentGroups, olderGroups, onSeeded: undefined });
      watch.listener = undefined;
      for (const putBack of back) putBack();
    };
  }

  finish(): Recorded {
    const scratch = new Set<GPUBuffer>();
    for (const buffer of this.turns.keys()) if (!this.own.has(buffer)) scratch.add(buffer);
    const { own, problem, writes } = this;
    const dispatches = this.state.dispatches - this.dispatchesBefore;
    return {
      segments: this.segments.filter((commands) => commands.length > 0),
      writes,
      scratch,
      own,
      dispatches,
      problem,
    };
  }

  /** Gives everything back. */
  abandon(): void {
    const lodger = { busy: 0, lost: true };
    for (const [buffer, returned] of this.own) this.watch.own(lodger, buffer, returned);
    this.watch.leave(lodger, this.own.keys());
  }

  private use(buffer: GPUBuffer): Use {
    return { buffer, turn: this.turns.get(buffer) ?? 0 };
  }

  private groupOf({ layout, entries }: GPUBindGroupDescriptor): Group {
    const uses = [...entries].map(({ binding, resource }) => {
      const { buffer, offset, size } = resource as GPUBufferBinding;
      if (!(buffer instanceof GPUBuffer)) this.problem ??= 'it binds what is no buffer';
      return { ...this.use(buffer), binding, offset: offset ?? 0, size };
    });
    return { layout, uses };
  }

  private listenTo(encoder: GPUCommandEncoder): GPUCommandEncoder {
    const add = (command: Command): void => {
      (this.segments.at(-1) as Command[]).push(command);
    };
    const beginPass = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (descriptor) => {
      const pass = descriptor === undefined ? beginPass() : beginPass(descriptor);
      let [pipeline, group]: [GPUComputePipeline | undefined, GPUBindGroup | undefined] = [undefined, undefined];
      const [setPipeline, setGroup, dispatch] = [
        pass.setPipeline.bind(pass),
        pass.setBindGroup.bind(pass),
        pass.dispatchWorkgroups.bind(pass),
      ];
      pass.setPipeline = (next) => {
        setPipeline((pipeline = next));
      };
      pass.setBindGroup = ((index: number, next: GPUBindGroup) => {
        setGroup(index, (group = next));
      }) as GPUComputePassEncoder['setBindGroup'];
      pass.dispatchWorkgroups = (x, y = 1, z = 1) => {
        dispatch(x, y, z);
        const bound = group === undefined ? undefined : this.groups.get(group);
        if (pipeline === undefined || group === undefined || bound === undefined)
          this.problem ??= 'it binds a group from before';
        else add({ kind: 'dispatch', pipeline, group, ...bound, counts: [x, y, z] });
      };
      return pass;
    };
    const copy = encoder.copyBufferToBuffer.bind(encoder);
    encoder.copyBufferToBuffer = ((
      from: GPUBuffer,
      fromOffset: number,
      to: GPUBuffer,
      toOffset: number,
      size: number,
    ) => {
      copy(from, fromOffset, to, toOffset, size);
      add({ kind: 'copy', from: this.use(from), fromOffset, to: this.use(to), toOffset, size });
    }) as GPUCommandEncoder['copyBufferToBuffer'];
    return encoder;
  }

  private uploaded(values: Int32Array | Float32Array | Uint8Array, write: GPUQueue['writeBuffer']): GPUBuffer {
    // Booleans have a byte each on the host.
    const words = values instanceof Uint8Array ? Int32Array.from(values) : values;
    // Always a new one: a repetition writes it before its first command, and one of the pool may have served an earlier
    // command of this step.
    const buffer = takeBuffer(
      this.gpu,
      words.byteLength,
      GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      false,
    );
    this.own.set(buffer, false);
    write(buffer, 0, words as Int32Array<ArrayBuffer>);
    this.written(buffer, new Uint8Array(words.buffer, words.byteOffset, words.byteLength), true);
    return buffer;
  }

  private written(buffer: GPUBuffer, bytes: Uint8Array, tensor: boolean): void {
    const input = this.inputsByMemory.get(bytes.buffer);
    const source: InputBytes | undefined =
      input === undefined ? undefined : { kind: 'bytes', name: input.name, offset: bytes.byteOffset - input.begin };
    if (!this.own.has(buffer)) this.problem ??= 'the host writes to a buffer from before';
    this.writes.push({ use: this.use(buffer), bytes: bytes.slice(), source, tensor });
  }

  /** Comes after the write of the same bytes. */
  private seeded(buffer: GPUBuffer, { seed, of }: SeededParams): void {
    const [name, value] = Object.entries(this.inputs).find(([, input]) => typeof input === 'number') ?? [];
    if (name === undefined) return;
    const source: InputSeed = {
      kind: 'seed',
      name,
      mix: (seed ^ (value as number)) >>> 0,
      make: (next) => packParams(of(next)),
    };
    const last = this.writes.pop() as Write;
    if (last.use.buffer !== buffer) this.problem ??= 'a seed is written out of order';
    this.writes.push({ ...last, source });
  }
}
