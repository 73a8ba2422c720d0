import type { TensorInfo } from '@tensorflow/tfjs-core';
import { forEach } from '../../runtime/webgpu/repeat-lines.js';
import type { GpuParams } from '../../runtime/webgpu/dispatch.js';
import type { GpuOperand } from './operand.js';
import * as wgsl from './wgsl.generated.js';

/** A float matrix in a buffer: rows of `stride` elements from `offset` on. */
export interface GpuView {
  readonly tensor: TensorInfo;
  readonly offset: number;
  readonly stride: number;
}

/** scale · A·B, A `[m, k]` or, not along k, `[k, m]`; B `[n, k]` or `[k, n]`. */
export interface GpuSegment {
  readonly k: number;
  readonly scale: number;
  readonly a: GpuView;
  readonly aAlongK: boolean;
  readonly b: GpuView | GpuOperand;
  readonly bAlongK: boolean;
}

/** C `[m, n]` = Σ segments + bias; the outputs take its rows one after the other. */
export interface GpuJob {
  readonly m: number;
  readonly n: number;
  readonly segments: readonly GpuSegment[];
  readonly outs: readonly (GpuView & { readonly rows: number })[];
  readonly bias?: GpuView | undefined;
  /** Adds to what the outputs hold. */
  readonly accumulate?: boolean;
}

/** A matrix by itself. */
export function wholeView(tensor: TensorInfo): GpuView {
  return { tensor, offset: 0, stride: tensor.shape[tensor.shape.length - 1] as number };
}

export type Kind = 'vector' | 'scalar';

/** How a shader does its jobs. */
export interface JobShape {
  /** Text with the entry point: see tiled/group.wgsl. */
  readonly main: string;
  /** Text that a segment adds: see tiled/stage.wgsl. */
  readonly stage: string;
  /** How often lines are repeated, by the name in their mark, besides those of jobs, segments and outputs. */
  readonly counts?: Readonly<Record<string, number>>;
  /** Where all A are packed, and the factors of its rows: see pack.wgsl. Views of A then count in vec4u. */
  readonly packed?: readonly [TensorInfo, TensorInfo];
}

const PLAIN: JobShape = { main: '', stage: '' };

/** The shader over certain jobs: its text, what it binds, its numbers. */
export class JobText {
  readonly outs: TensorInfo[] = [];
  readonly inputs: TensorInfo[] = [];
  readonly constants: Record<string, number> = {};
  /** Stands for the text. */
  key = '';
  private readonly outKinds: Kind[] = [];
  private readonly inputKinds: (Kind | '4bit' | 'packed')[] = [];
  private readonly parts: (() => string)[] = [];
  private readonly biases: string[] = [];
  private readonly stores: string[] = [];
  private readonly prepared: string[] = [];

  /** @param shape absent where no text is wanted, only what it would bind */
  constructor(
    private readonly jobs: readonly GpuJob[],
    private readonly shape: JobShape = PLAIN,
  ) {
    if (shape.packed !== undefined) {
      this.inputs.push(...shape.packed);
      this.inputKinds.push('packed', 'scalar');
    }
    for (const { n, outs } of jobs) for (const view of outs) this.addOut(view, n);
    jobs.forEach((job, j) => this.addJob(job, j));
    this.key += this.outKinds.map((kind) => kind[0]).join('');
  }

  /** @param software whether no GPU stands behind the device */
  code(software: boolean): string {
    const { jobs, outs } = this;
    const variables = [
      ...outs.map(
        (_, i) =>
          `@group(0) @binding(${i}) var<storage, read_write> out_${i}: array<${element(this.outKinds[i] as Kind)}>;`,
      ),
      ...this.inputKinds.map((kind, i) =>
        kind === '4bit'
          ? ''
          : `@group(0) @binding(${outs.length + i}) var<storage, read> in_${i}: array<${element(kind)}>;`,
      ),
      `@group(0) @binding(${outs.length + this.inputs.length}) var<uniform> params: Params;`,
    ];
    const counts = {
      jobs: jobs.length,
      segments: jobs.flatMap((job) => job.segments).length,
      outs: jobs.flatMap((job) => job.outs).length,
    };
    const main = forEach(this.shape.main, { ...counts, ...this.shape.counts })
      .replace('// #biases', this.biases.join('\n    '))
      .replace('// #outs', this.stores.join('\n  '))
      .replace('// #prepare', this.prepared.join('\n  '));
    return fill([...variables, ...this.parts.map((part) => part()), main].join('\n'), {
      NOTHING: software ? 'params.segments[0].zero' : '0u',
    });
  }

  params(): GpuParams {
    const segments = this.jobs.flatMap(({ m, n, segments: own }) =>
      own.flatMap(({ k, scale, a, b }): GpuParams => {
        const view = 'tensor' in b ? b : { offset: 0, stride: 0 };
        return [
          ['u', m],
          ['u', n],
          ['u', k],
          ['f', scale],
          ['u', a.offset],
          ['u', a.stride],
          ['u', view.offset],
          ['u', view.stride],
          ...('tensor' in b ? NO_CODES : b.params),
        ];
      }),
    );
    const outs = this.jobs.flatMap(({ outs: own }) => {
      let begin = 0;
      return own.flatMap(({ offset, stride, rows }): GpuParams => [
        ['u', offset],
        ['u', stride],
        ['u', begin],
        ['u', (begin += rows)],
      ]);
    });
    return [...segments, ...outs];
  }

  private addOut(view: GpuView, width: number): void {
    const kind = kindOf(view, width);
    const index = this.outs.findIndex((known) => known.dataId === view.tensor.dataId);
    if (index < 0) {
      this.outs.push(view.tensor);
      this.outKinds.push(kind);
    } else if (kind === 'scalar') this.outKinds[index] = kind;
  }

  private addJob(job: GpuJob, j: number): void {
    this.key += job.accumulate === true ? '+' : 'j';
    const width = `params.jobs[${j}].n`;
    for (const { tensor } of job.outs) {
      const at = this.stores.length;
      const out = this.outs.findIndex((known) => known.dataId === tensor.dataId);
      const range = `params.outs[${at}]`;
      this.key += out;
      this.parts.push(() =>
        fill(this.outKinds[out] === 'vector' ? wgsl.storeOutputVector : wgsl.storeOutputScalar, {
          INDEX: `${at}`,
          VALUES: `out_${out}`,
          ASSIGN: job.accumulate === true ? '+=' : '=',
        }),
      );
      this.stores.push(
        `if (job == ${j}u && m >= ${range}.begin && m < ${range}.end) { put_${at}(m - ${range}.begin, n, ${width}, values); }`,
      );
    }
    for (const segment of job.segments) this.addSegment(segment, job);
    if (job.bias === undefined) return;
    this.reader(`read_bias_${j}`, `vec2u(params.jobs[${j}].bias_offset, 0u)`, job.bias, 1);
    this.biases.push(`case ${j}: { return read_bias_${j}(0u, n, vec2u(1u, width)); }`);
  }

  private addSegment({ k, a, aAlongK, b, bAlongK }: GpuSegment, { m, n }: GpuJob): void {
    const index = this.prepared.length;
    this.key += `s${aAlongK ? 1 : 0}${bAlongK ? 1 : 0}`;
    if (this.shape.packed === undefined)
      this.reader(`read_a_${index}`, `params.segments[${index}].a`, a, aAlongK ? k : m);
    if ('tensor' in b) {
      this.prepared.push('');
      this.reader(`read_b_${index}`, `params.segments[${index}].b`, b, bAlongK ? k : n);
      if (this.shape.packed !== undefined) this.parts.push(() => fill(wgsl.viewEight, { INDEX: `${index}` }));
    } else this.addCodes(b, bAlongK, index);
    this.parts.push(() =>
      fill(forEach(this.shape.stage, { ...this.shape.counts }), {
        INDEX: `${index}`,
        A_ALONG_K: `${aAlongK}`,
        B_ALONG_K: `${bAlongK}`,
      }),
    );
  }

  private addCodes({ code, tensors, constants, name }: GpuOperand, alongK: boolean, index: number): void {
    const first = this.inputs.length;
    this.inputs.push(...tensors);
    this.inputKinds.push(...tensors.map(() => '4bit' as const));
    this.key += name;
    this.prepared.push(`prepare_${index}(lane);`);
    for (const [constant, value] of Object.entries(constants)) this.constants[`${constant}_${index}`] = value;
    this.parts.push(() => {
      const own = inNamespace(code, index)
        .replace(
          /@binding\((\d+)\)/g,
          (_, binding: string) => `@binding(${this.outs.length + first + Number(binding) - 2})`,
        )
        .replace(/\bparams\./g, `params.segments[${index}].`);
      const called = own.replaceAll(`read_b_${index}`, `decoded_${index}`);
      return fill(
        `${called}\nfn read_b_${index}(row: u32, column: u32, size: vec2u) -> vec4f { return decoded_${index}(row, column); }\n`,
        { B_ALONG_K: `${alongK}` },
      );
    });
  }

  private reader(name: string, view: string, from: GpuView, width: number): void {
    const kind = kindOf(from, width);
    let index = this.inputs.findIndex((known, i) => known.dataId === from.tensor.dataId && this.inputKinds[i] === kind);
    if (index < 0) {
      index = this.inputs.push(from.tensor) - 1;
      this.inputKinds.push(kind);
    }
    this.key += `${kind[0]}${index}`;
    this.parts.push(() =>
      fill(kind === 'vector' ? wgsl.viewVector : wgsl.viewScalar, { READ: name, VIEW: view, VALUES: `in_${index}` }),
    );
  }
}

const NO_CODES: GpuParams = [
  ['f', 0],
  ['u', 0],
  ['u', 0],
  ['u', 0],
];

export function element(kind: Kind | 'packed'): string {
  return kind === 'packed' ? 'vec4u' : kind === 'vector' ? 'vec4f' : 'f32';
}

/** How a matrix is read whose rows have `width` elements: four neighbours at once, or one by one. */
export function kindOf({ offset, stride }: GpuView, width: number): Kind {
  return [offset, stride, width].every((length) => length % 4 === 0) ? 'vector' : 'scalar';
}

/** Text with words in the place of others. */
export function fill(text: string, words: Readonly<Record<string, string>>): string {
  return Object.entries(words).reduce(
    (out, [word, by]) => out.replace(new RegExp(`(?<![a-zA-Z0-9])${word}(?![a-zA-Z0-9])`, 'g'), by),
    text,
  );
}

/**
 * WGSL whose functions, variables and constants have `index` behind their names, so that it may stand in a shader
 * several times.
 */
function inNamespace(code: string, index: number): string {
  const names = [
    ...code.matchAll(/^(?:@group.* |override |const |var<\w+> |fn )?(?:var<[^>]*> |override |const |fn )?(\w+)[:(]/gm),
  ].map((match) => match[1] as string);
  return [...new Set(names)].reduce(
    (out, name) => out.replace(new RegExp(`\\b${name}\\b`, 'g'), `${name}_${index}`),
    code,
  );
}
