/** Fewer steps say nothing of a trend. */
const FEWEST = 10;
/** Share of ln V from which on a model predicts no better than by chance. */
const CHANCE = 0.98;
/** What a rise has to come to, as a share of the loss and in standard errors of the two means. */
const RISE = { share: 0.01, errors: 3 };

/** At most so many groups of neighbouring steps are kept, however long the run is. */
const MOST_GROUPS = 64;

/** Losses of neighbouring steps: how many, their sum and the sum of their squares. */
type Group = readonly [count: number, sum: number, squares: number];

/** State of a {@link LossTrend}. */
export interface LossTrendState {
  readonly groups: readonly Group[];
  /** Steps of a full group. */
  readonly groupSize: number;
  readonly largestNorm: number;
}

/** Watches whether the training loss falls and the gradients are not zero. */
export class LossTrend {
  private groups: Group[] = [];
  private groupSize = 1;
  private largestNorm = 0;

  add(loss: number, gradNorm: number): void {
    const last = this.groups.at(-1);
    if (last !== undefined && last[0] < this.groupSize)
      this.groups[this.groups.length - 1] = joined(last, [1, loss, loss * loss]);
    else this.groups.push([1, loss, loss * loss]);
    this.largestNorm = Math.max(this.largestNorm, gradNorm);
    if (this.groups.length === MOST_GROUPS && (this.groups.at(-1)?.[0] ?? 0) === this.groupSize) {
      this.groups = Array.from({ length: MOST_GROUPS / 2 }, (_, i) =>
        joined(this.groups[2 * i] as Group, this.groups[2 * i + 1] as Group),
      );
      this.groupSize *= 2;
    }
  }

  state(): LossTrendState {
    return { groups: [...this.groups], groupSize: this.groupSize, largestNorm: this.largestNorm };
  }

  restore({ groups, groupSize, largestNorm }: LossTrendState): void {
    this.groups = [...groups];
    this.groupSize = groupSize;
    this.largestNorm = largestNorm;
  }

  /**
   * What looks as if nothing was learnt, and what to try; undefined where the run looks as it should.
   * @param vocab tokens that the model tells apart; undefined where the loss is no cross-entropy, which has no chance level
   */
  warning(vocab: number | undefined): string | undefined {
    const { groups } = this;
    if (groups.length === 0) return undefined;
    if (this.largestNorm === 0) {
      return 'the gradients were zero at every step, so that nothing was learnt: check that the rows have tokens to learn (lowrank data), and that learning_rate, lora_alpha and the adapted modules are as meant';
    }
    const steps = groups.reduce((sum, [count]) => sum + count, 0);
    if (steps < FEWEST) return undefined;
    const quarter = Math.max(3, Math.floor(steps / 4));
    const [first, last] = [statistics(groups, quarter), statistics(groups.toReversed(), quarter)];
    const rise = last.mean - first.mean;
    if (rise > RISE.share * first.mean && rise > RISE.errors * Math.hypot(first.error, last.error)) {
      return `the training loss rose over the run, from ${first.mean.toFixed(3)} in its first quarter to ${last.mean.toFixed(3)} in its last: try a learning_rate a tenth as large, more warm-up (warmup_ratio) or a smaller max_grad_norm`;
    }
    if (vocab === undefined) return undefined;
    const chance = Math.log(vocab);
    if (last.mean > CHANCE * chance && !(first.mean - last.mean > RISE.errors * Math.hypot(first.error, last.error))) {
      return `the training loss ends at ${last.mean.toFixed(3)}, no better than guessing among ${vocab} tokens (ln ${vocab} = ${chance.toFixed(3)}): check that tokenizer and weights belong together (lowrank data shows the tokens), and try a larger learning_rate`;
    }
    return undefined;
  }
}

function joined(a: Group, b: Group): Group {
  return [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
}

/** Mean and its standard error, of the first groups that have at least `steps` steps. */
function statistics(groups: readonly Group[], steps: number): { mean: number; error: number } {
  let total: Group = [0, 0, 0];
  for (const group of groups) if (total[0] < steps) total = joined(total, group);
  const [count, sum, squares] = total;
  const mean = sum / count;
  const variance = Math.max(0, squares - count * mean * mean) / Math.max(1, count - 1);
  return { mean, error: Math.sqrt(variance / count) };
}
