import type { TensorInfo } from '@tensorflow/tfjs-core';
import { lanesProduct, type HeadsView } from '../matmul/webgpu/subgroups/subgroup-software.js';
import { bindingBytes } from '../runtime/webgpu/row-blocks.js';
import { chooseVariant } from '../runtime/variant.js';
import { gpuDispatch, gpuOutput, gpuRelease, gpuWorkgroups, type GpuParams } from '../runtime/webgpu/dispatch.js';
import type { AttentionShape } from './shape.js';
import { paddedKeys, scoreBytes, stretches, type Stretch } from './score-blocks.js';
import * as wgsl from './wgsl.generated.js';

/** Four rows for each of at most eight lanes, and what lies before a multiple of four: see subgroup-software.wgsl. */
const REACH = 40;

type Tensors<N extends string> = Readonly<Record<N, TensorInfo>>;

/** True where the variant in force is `lanes` and the scores of one key head fit into a buffer. */
export function attendsByLanes(backend: unknown, s: AttentionShape): boolean {
  return chooseVariant(backend).traits.lanes && scoreBytes(s) <= bindingBytes(backend);
}

/** Scores, weights, and o = weights · v, with rotated q and k. */
export function forwardLanes(
  backend: unknown,
  { q, k, v, starts, o, lse }: Tensors<'q' | 'k' | 'v' | 'starts' | 'o' | 'lse'>,
  s: AttentionShape,
): void {
  for (const stretch of stretches(s)) {
    const heads = new Heads(backend, s, stretch);
    const scores = heads.scores();
    heads.products(s.queryLength, s.keyLength, s.headDim, {
      scale: s.scale,
      a: heads.queries(q),
      b: heads.keys(k),
      bAlongK: true,
      out: scores,
      visible: 'c',
    });
    heads.weights(scores, undefined, lse, starts);
    heads.products(s.queryLength, s.headDim, s.keyLength, {
      scale: 1,
      a: scores,
      b: heads.keys(v),
      bAlongK: false,
      out: heads.queries(o),
      visible: 'rows',
    });
    gpuRelease(backend, scores.tensor);
  }
}

/** Gradients of rotated q and k, and of v. */
export function backwardLanes(
  backend: unknown,
  tensors: Tensors<'q' | 'k' | 'v' | 'starts' | 'dy' | 'lse' | 'dq' | 'dk' | 'dv'>,
  s: AttentionShape,
): void {
  const { q, k, v, starts, dy, lse, dq, dk, dv } = tensors;
  for (const stretch of stretches(s)) {
    const heads = new Heads(backend, s, stretch);
    const [scores, dScores] = [heads.scores(), heads.scores()];
    heads.products(s.queryLength, s.keyLength, s.headDim, {
      scale: s.scale,
      a: heads.queries(q),
      b: heads.keys(k),
      bAlongK: true,
      out: scores,
      visible: 'c',
    });
    heads.products(s.queryLength, s.keyLength, s.headDim, {
      scale: 1,
      a: heads.queries(dy),
      b: heads.keys(v),
      bAlongK: true,
      out: dScores,
      visible: 'c',
    });
    heads.weights(scores, dScores, lse, starts);
    heads.products(s.queryLength, s.headDim, s.keyLength, {
      scale: 1,
      a: dScores,
      b: heads.keys(k),
      bAlongK: false,
      out: heads.queries(dq),
      visible: 'rows',
    });
    heads.sumsOverQueries(scores, dy, dv);
    heads.sumsOverQueries(dScores, q, dk);
    gpuRelease(backend, scores.tensor);
    gpuRelease(backend, dScores.tensor);
  }
}

interface HeadsProduct {
  readonly scale: number;
  readonly a: HeadsView;
  readonly b: HeadsView;
  readonly bAlongK: boolean;
  readonly out: HeadsView;
  readonly visible: 'c' | 'rows';
}

/**
 * Matrices of the heads of a stretch: `[batch, length, heads, dim]` in tensors, `[batch, heads, queries, keys]` of
 * scores.
 */
class Heads {
  /** Query heads that share a key head. */
  private readonly group: number;
  private readonly first: number;

  constructor(
    private readonly backend: unknown,
    private readonly s: AttentionShape,
    private readonly stretch: Stretch,
  ) {
    this.group = s.numHeads / s.numKvHeads;
    this.first = s.keyLength - s.queryLength;
  }

  queries(tensor: TensorInfo): HeadsView {
    const { headDim, numHeads, queryLength } = this.s;
    const stride = numHeads * headDim;
    const outer = queryLength * stride;
    return {
      tensor,
      offset: this.stretch.batch * outer + this.stretch.head * this.group * headDim,
      stride,
      outer,
      inner: headDim,
    };
  }

  keys(tensor: TensorInfo): HeadsView {
    const { headDim, numKvHeads, keyLength } = this.s;
    const stride = numKvHeads * headDim;
    const outer = keyLength * stride;
    return {
      tensor,
      offset: this.stretch.batch * outer + this.stretch.head * headDim,
      stride,
      outer,
      inner: headDim,
      sharedBy: this.group,
    };
  }

  scores(): HeadsView {
    const stride = paddedKeys(this.s);
    const inner = this.s.queryLength * stride;
    const outer = this.stretch.heads * this.group * inner;
    return {
      tensor: gpuOutput(this.backend, [this.stretch.batches * outer]),
      offset: 0,
      stride,
      outer,
      inner,
      padded: true,
    };
  }

  products(m: number, n: number, k: number, { visible, ...product }: HeadsProduct): void {
    const { heads, batches: batch } = this.stretch;
    lanesProduct(this.backend, {
      m,
      n,
      k,
      ...product,
      aAlongK: true,
      accumulate: false,
      heads: heads * this.group,
      batch,
      causal: { visible, first: this.first },
    });
  }

  /** Out of keys' shape = weightsᵀ · a tensor of queries' shape, summed over the query heads that share a key head. */
  sumsOverQueries(weights: HeadsView, values: TensorInfo, out: TensorInfo): void {
    const { queryLength: k, keyLength: m, headDim: n } = this.s;
    const { heads, batches: batch } = this.stretch;
    const causal = { visible: 'columns', first: this.first } as const;
    for (let i = 0; i < this.group; i++) {
      const nth = (view: HeadsView): HeadsView => ({
        ...view,
        offset: view.offset + i * (view.inner as number),
        inner: this.group * (view.inner as number),
      });
      const views = { a: nth(weights), b: nth(this.queries(values)), out: { ...this.keys(out), sharedBy: 1 } };
      lanesProduct(this.backend, {
        m,
        n,
        k,
        scale: 1,
        ...views,
        aAlongK: false,
        bAlongK: false,
        accumulate: i > 0,
        heads,
        batch,
        causal,
      });
    }
  }

  /** Makes weights of scores and, where given, gradients of scores of those of weights. */
  weights(scores: HeadsView, dWeights: HeadsView | undefined, lse: TensorInfo, starts: TensorInfo): void {
    const { queryLength, keyLength, numHeads, window, hasStarts, scale } = this.s;
    const { batch, batches, head, heads } = this.stretch;
    const here = heads * this.group;
    const rows = batches * here * queryLength;
    const sizes = [
      queryLength,
      keyLength,
      numHeads,
      scores.stride,
      window,
      hasStarts,
      batch,
      head * this.group,
      here,
      rows,
      REACH,
    ];
    const params: GpuParams = [...sizes.map((x) => ['u', x] as const), ['f', scale]];
    const groups = gpuWorkgroups(rows, 32);
    if (dWeights === undefined)
      gpuDispatch(
        this.backend,
        { name: 'attention/lanes-forward', code: wgsl.subgroupSoftwareForward },
        [scores.tensor, lse, starts],
        params,
        groups,
      );
    else
      gpuDispatch(
        this.backend,
        { name: 'attention/lanes-backward', code: wgsl.subgroupSoftwareBackward },
        [scores.tensor, dWeights.tensor, lse, starts],
        params,
        groups,
      );
  }
}
