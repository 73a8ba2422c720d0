import * as tf from '@tensorflow/tfjs-core';
import { bufferOf, gpuBackend, isTiming, makeGpuOutput, uploadValues, type GpuBackend } from '../../tfjs/webgpu.js';
import { kernelMode } from '../op.js';
import { kernelVariant } from '../variant.js';
import { difference } from './commands.js';
import { record, type Recorded, type StepInputs } from './recorder.js';
import { Recording } from './recording.js';

export type { StepInputs } from './recorder.js';

export interface ReplayOptions {
  /** Tensors, no views, that the step ends with copying its results to, and that nothing in it reads. */
  readonly results: readonly tf.Tensor[];
  /** Tensors that the step reads, and that may be given other values in other memory: it is then recorded anew. */
  readonly watched: readonly tf.Tensor[];
  /** Told why a kind of step is not replayed. */
  readonly onRefused?: ((reason: string) => void) | undefined;
}

/** A kind of step has been done this often before it is recorded: what is made once is there then. */
const FIRST_EAGER = 2;
/** Recordings of one kind: two that are the same serve until something that they read moves. */
const MOST_RECORDINGS = 12;
/** Steps in a row that are done as ever because a buffer is taken, before others are looked for. */
const MOST_WAITS = 3;
/** Kinds whose recordings are kept, the latest used. */
const MOST_KINDS = 32;
/** Bytes that all recordings together may keep from the pool. */
const MOST_OWN_BYTES = 32 * 2 ** 20;
/** Kinds that are counted: one of a data set with many lengths comes up once. */
const MOST_COUNTED = 4096;

interface Kind {
  seen: number;
  recordings: number;
  waits: number;
  /** To be compared with the next. */
  last?: Recorded;
  ready?: Ready;
}

interface Ready {
  readonly recording: Recording;
  /** Of the tensor that the step returned. */
  readonly result: GPUBuffer;
  readonly shape: number[];
  /** Of what is watched, when it was recorded. */
  readonly memory: readonly object[];
}

let allowed = true;

/** Whether steps are recorded and replayed from now on. */
export function setReplay(on: boolean): void {
  allowed = on;
}

/** Whether steps are recorded and replayed. */
export function replayAllowed(): boolean {
  return allowed;
}

/**
 * Steps whose commands to the GPU are recorded once a kind and then given to it again, without the JavaScript that made
 * them. What changes between steps of one kind is a handful of host values, the inputs. A step is what its function
 * does, told by a key, the sizes of its inputs, and the kernels in force; two recordings that differ in anything but
 * the inputs are none.
 *
 * Recordings share the pool's buffers with everybody else: see pool.ts. Where that does not work out, a step is done as
 * ever.
 */
export class Replays {
  /** Steps that were. */
  replayed = 0;
  private readonly kinds = new Map<string, Kind>();
  private readonly gpu: GpuBackend;

  constructor(
    backend: unknown,
    private readonly options: ReplayOptions,
  ) {
    this.gpu = gpuBackend(backend);
  }

  /**
   * Does a step, whose result is a small float32 tensor.
   *
   * @param inputs all that differs from step to step; `body` makes tensors of exactly these arrays
   * @param body leaves no tensor behind but the one that it returns; waits for nothing
   */
  run<T extends tf.Tensor>(key: string, inputs: StepInputs, body: () => T): T {
    if (!allowed || isTiming(this.gpu)) return body();
    const kind = this.kindOf(key, inputs);
    kind.seen++;
    if (kind.ready !== undefined && this.stale(kind)) forget(kind);
    if (kind.ready?.recording.ready === true) {
      kind.waits = 0;
      this.replayed++;
      return this.replay(kind.ready, inputs) as T;
    }
    if (kind.ready !== undefined && ++kind.waits > MOST_WAITS) forget(kind);
    if (kind.ready !== undefined || kind.seen <= FIRST_EAGER || kind.recordings >= MOST_RECORDINGS) return body();
    return this.record(kind, inputs, body);
  }

  private kindOf(key: string, inputs: StepInputs): Kind {
    let name = `${key}|${kernelMode()}|${kernelVariant()}`;
    for (const [input, value] of Object.entries(inputs))
      name += `|${input}${typeof value === 'number' ? '' : value.length}`;
    const kind = this.kinds.get(name) ?? { seen: 0, recordings: 0, waits: 0 };
    // The latest used come last.
    this.kinds.delete(name);
    this.kinds.set(name, kind);
    const [oldest] = this.kinds;
    if (this.kinds.size > MOST_COUNTED && oldest !== undefined) {
      forget(oldest[1]);
      this.kinds.delete(oldest[0]);
    }
    return kind;
  }

  private stale({ ready }: Kind): boolean {
    return (
      ready?.recording.lost === true || this.options.watched.some((tensor, i) => tensor.dataId !== ready?.memory[i])
    );
  }

  private record<T extends tf.Tensor>(kind: Kind, inputs: StepInputs, body: () => T): T {
    const tensors = tf.memory().numTensors;
    const { value, recorded } = record(this.gpu, inputs, body);
    kind.recordings++;
    const result = this.bufferOf(value);
    const kept = tf.memory().numTensors - tensors - 1;
    const problem =
      recorded.problem ??
      (kept === 0 ? undefined : `it keeps ${kept} tensors`) ??
      (result === undefined ? 'its result is made on the host' : undefined);
    const before = kind.last;
    const differs = before === undefined ? undefined : difference(before, recorded);
    const same = problem === undefined && before !== undefined && differs === undefined;
    const recording = new Recording(
      this.gpu,
      recorded,
      same ? new Set(this.options.results.map((tensor) => this.bufferOf(tensor) as GPUBuffer)) : new Set(),
    );
    delete kind.last;
    if (same) {
      kind.ready = {
        recording,
        result: result as GPUBuffer,
        shape: value.shape,
        memory: this.options.watched.map(({ dataId }) => dataId),
      };
      this.bound();
    } else {
      recording.dispose();
      const reason = problem ?? differs;
      if (reason === undefined || problem === undefined) kind.last = recorded;
      if (reason !== undefined) this.options.onRefused?.(reason);
    }
    return value;
  }

  private replay({ recording, result, shape }: Ready, inputs: StepInputs): tf.Tensor {
    const info = makeGpuOutput(this.gpu, shape, 'float32');
    uploadValues(this.gpu, info.dataId);
    const target = this.bufferOf(info) as GPUBuffer;
    recording.run(inputs, (encoder) => {
      encoder.copyBufferToBuffer(result, 0, target, 0, 4 * tf.util.sizeFromShape(shape));
    });
    return tf.engine().makeTensorFromTensorInfo(info);
  }

  private bufferOf({ dataId }: tf.TensorInfo): GPUBuffer | undefined {
    return bufferOf(this.gpu, dataId);
  }

  /** Lets the oldest recordings go where there are too many. */
  private bound(): void {
    const ready = [...this.kinds.values()].filter((kind) => kind.ready !== undefined);
    let bytes = ready.reduce((sum, kind) => sum + (kind.ready?.recording.ownBytes ?? 0), 0);
    for (const [i, kind] of ready.entries()) {
      if (ready.length - i <= MOST_KINDS && bytes <= MOST_OWN_BYTES) return;
      bytes -= kind.ready?.recording.ownBytes ?? 0;
      forget(kind);
      // A kind that comes again and again is worth it once more.
      kind.recordings = 0;
    }
  }

  dispose(): void {
    for (const kind of this.kinds.values()) forget(kind);
    this.kinds.clear();
  }
}

function forget(kind: Kind): void {
  kind.ready?.recording.dispose();
  kind.waits = 0;
  delete kind.ready;
}
