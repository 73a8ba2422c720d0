/**
 * One use of a buffer that the pool may hand out several times: who got it `turn`-th in a recording. 0: it was there
 * before.
 */
export interface Use {
  readonly buffer: GPUBuffer;
  readonly turn: number;
}

export interface BoundUse extends Use {
  readonly binding: number;
  readonly offset: number;
  readonly size: number | undefined;
}

/** What a bind group binds. */
export interface Group {
  readonly layout: GPUBindGroupLayout;
  readonly uses: readonly BoundUse[];
}

export interface Dispatch {
  readonly kind: 'dispatch';
  readonly pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  uses: readonly BoundUse[];
  readonly layout: GPUBindGroupLayout;
  readonly counts: readonly [number, number, number];
}

export interface Copy {
  readonly kind: 'copy';
  readonly from: Use;
  readonly fromOffset: number;
  readonly to: Use;
  readonly toOffset: number;
  readonly size: number;
}

export type Command = Dispatch | Copy;

/** Bytes that the host gives to the device in a step. */
export interface Write {
  readonly use: Use;
  readonly bytes: Uint8Array;
  /** What they are made of, where they are not the same in every step. */
  readonly source: InputBytes | InputSeed | undefined;
  /** A tensor's values, which kernels may write over: given again in every step, the same or not. */
  readonly tensor: boolean;
}

/** A stretch of an input. */
export interface InputBytes {
  readonly kind: 'bytes';
  readonly name: string;
  readonly offset: number;
}

/** What is made of a seed that differs from an input by `mix`. */
export interface InputSeed {
  readonly kind: 'seed';
  readonly name: string;
  readonly mix: number;
  readonly make: (seed: number) => ArrayBuffer;
}

/** What a step asked of the device. */
export interface Log {
  /** Between two submits each. */
  readonly segments: readonly (readonly Command[])[];
  readonly writes: readonly Write[];
}

/**
 * Why two recordings of one kind of step are not the same step: undefined where nothing but named inputs differs.
 * Buffers are told apart by the order in which they come up.
 */
export function difference(a: Log, b: Log): string | undefined {
  const [names, others] = [new Names(), new Names()];
  const same = (x: Use, y: Use): boolean => names.of(x) === others.of(y);
  if (a.segments.length !== b.segments.length)
    return `it is submitted in ${a.segments.length} or ${b.segments.length} parts`;
  for (const [i, commands] of a.segments.entries()) {
    const again = b.segments[i] as readonly Command[];
    if (commands.length !== again.length) return `it takes ${commands.length} or ${again.length} commands`;
    for (const [k, command] of commands.entries())
      if (!sameCommand(command, again[k] as Command, same)) return `command ${k} of part ${i} differs`;
  }
  if (a.writes.length !== b.writes.length) return `the host writes ${a.writes.length} or ${b.writes.length} times`;
  for (const [i, write] of a.writes.entries()) {
    const again = b.writes[i] as Write;
    if (!same(write.use, again.use) || !sameBytes(write, again))
      return `write ${i} of ${write.bytes.length} bytes differs, and is no input`;
  }
  return undefined;
}

/** Numbers for buffers in the order in which they come up; those from before the recording have one for good. */
class Names {
  private readonly numbers = new Map<GPUBuffer, Map<number, number>>();
  private count = 0;

  of({ buffer, turn }: Use): number | GPUBuffer {
    if (turn === 0) return buffer;
    let turns = this.numbers.get(buffer);
    if (turns === undefined) this.numbers.set(buffer, (turns = new Map<number, number>()));
    let number = turns.get(turn);
    if (number === undefined) turns.set(turn, (number = this.count++));
    return number;
  }
}

function sameCommand(a: Command, b: Command, same: (x: Use, y: Use) => boolean): boolean {
  if (a.kind === 'copy') {
    return (
      b.kind === 'copy' &&
      same(a.from, b.from) &&
      same(a.to, b.to) &&
      a.size === b.size &&
      a.fromOffset === b.fromOffset &&
      a.toOffset === b.toOffset
    );
  }
  if (b.kind === 'copy' || a.pipeline !== b.pipeline || a.uses.length !== b.uses.length) return false;
  if (a.counts.some((count, i) => count !== b.counts[i])) return false;
  return a.uses.every((use, i) => {
    const other = b.uses[i] as BoundUse;
    return same(use, other) && use.binding === other.binding && use.offset === other.offset && use.size === other.size;
  });
}

function sameBytes({ source, bytes }: Write, again: Write): boolean {
  const other = again.source;
  if (bytes.length !== again.bytes.length || source?.kind !== other?.kind) return false;
  if (source === undefined) return bytes.every((byte, i) => byte === again.bytes[i]);
  if (source.name !== other?.name) return false;
  if (source.kind === 'bytes') return other.kind === 'bytes' && source.offset === other.offset;
  return other.kind === 'seed' && source.mix === other.mix;
}
