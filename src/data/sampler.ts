import { ConfigError } from '../errors.js';
import { Random } from '../random.js';
import { mixedOrder, type MixPart } from './mix.js';

export interface SamplerOptions {
  /** Number of examples to draw from. */
  readonly count: number;
  readonly batchSize: number;
  readonly seed: number;
  /** A new order every epoch; else the order of the data set. Default true. */
  readonly shuffle?: boolean | undefined;
  /** Parts that the examples consist of, drawn by weight. Without it every example is drawn once an epoch. */
  readonly mix?: readonly MixPart[] | undefined;
}

/** Where a sampler stands, and what it must be the state of. */
export interface SamplerState {
  /** 0-based. */
  readonly epoch: number;
  /** Examples of this epoch already given out. */
  readonly position: number;
  readonly count: number;
  readonly seed: number;
  readonly shuffle: boolean;
  /** Sizes and weights of the parts, where they are mixed. */
  readonly mix?: string;
}

/**
 * Gives out the indices of batches, epoch after epoch without end. Every epoch visits every example once, or as often
 * as the mix says, in an order that depends on seed and epoch alone, so (epoch, position) is the whole state. The last
 * batch of an epoch may be smaller.
 */
export class BatchSampler {
  readonly count: number;
  readonly batchSize: number;
  private readonly seed: number;
  private readonly shuffle: boolean;
  private readonly parts: readonly MixPart[] | undefined;
  private readonly mix: string | undefined;
  private currentEpoch = 0;
  private currentPosition = 0;
  private order: Int32Array;

  /**
   * @throws ConfigError unless count and batch size are positive integers, and the parts of a mix add up to the count.
   */
  constructor({ count, batchSize, seed, shuffle = true, mix }: SamplerOptions) {
    if (!Number.isInteger(count) || count < 1)
      throw new ConfigError(`there must be examples to draw from, found ${count}`);
    if (!Number.isInteger(batchSize) || batchSize < 1)
      throw new ConfigError(`the batch size must be a positive integer, found ${batchSize}`);
    const mixed = mix?.reduce((sum, part) => sum + part.count, 0) ?? count;
    if (mixed !== count) throw new ConfigError(`the parts of the data hold ${mixed} examples of ${count}`);
    this.count = count;
    this.batchSize = batchSize;
    this.seed = seed;
    this.shuffle = shuffle;
    this.parts = mix;
    this.mix = mix?.map((part) => `${part.count}:${part.weight}`).join();
    this.order = this.orderOf(0);
  }

  get batchesPerEpoch(): number {
    return Math.ceil(this.count / this.batchSize);
  }

  /** Epoch of the next batch, 0-based. */
  get epoch(): number {
    return this.currentEpoch;
  }

  /** Examples of this epoch already given out. */
  get position(): number {
    return this.currentPosition;
  }

  /** Indices of the next batch, `[≤ batchSize]`. */
  next(): Int32Array {
    const batch = this.order.slice(this.currentPosition, this.currentPosition + this.batchSize);
    this.currentPosition += batch.length;
    if (this.currentPosition >= this.count) this.moveTo(this.currentEpoch + 1, 0);
    return batch;
  }

  state(): SamplerState {
    const { currentEpoch: epoch, currentPosition: position, count, seed, shuffle, mix } = this;
    return { epoch, position, count, seed, shuffle, ...(mix === undefined ? {} : { mix }) };
  }

  /**
   * Goes on where the state was taken; the batch size may differ.
   * @throws ConfigError when the state belongs to other data, another seed or order.
   */
  restore(state: SamplerState): void {
    const differing = (['count', 'seed', 'shuffle', 'mix'] as const).filter((key) => state[key] !== this[key]);
    if (differing.length > 0) {
      const list = differing.map((key) => `${key} was ${state[key]} and is ${this[key]}`).join(', ');
      throw new ConfigError(`the saved place in the data belongs to another run: ${list}`);
    }
    const { epoch, position } = state;
    if (
      !Number.isInteger(epoch) ||
      epoch < 0 ||
      !Number.isInteger(position) ||
      position < 0 ||
      position >= this.count
    ) {
      throw new ConfigError(`no such place in the data: epoch ${epoch}, example ${position} of ${this.count}`);
    }
    this.moveTo(epoch, position);
  }

  private moveTo(epoch: number, position: number): void {
    if (epoch !== this.currentEpoch) this.order = this.orderOf(epoch);
    this.currentEpoch = epoch;
    this.currentPosition = position;
  }

  private orderOf(epoch: number): Int32Array {
    if (this.parts !== undefined) return mixedOrder(this.parts, this.seed, epoch, this.shuffle);
    if (!this.shuffle) return Int32Array.from({ length: this.count }, (_, i) => i);
    return new Random(this.seed, `shuffle/${epoch}`).permutation(this.count);
  }
}
