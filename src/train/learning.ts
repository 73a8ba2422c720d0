/** Fewer steps say nothing of a trend. */
const FEWEST = 10;
/** Share of ln V from which on a model predicts no better than by chance. */
const CHANCE = 0.98;
/** What a rise has to come to, as a share of the loss and in standard errors of the two means. */
const RISE = { share: 0.01, errors: 3 };

/** Watches whether a run learns at all. Of a run that is gone on with it sees the steps since. */
export class Learning {
  private readonly losses: number[] = [];
  private largestNorm = 0;

  add(loss: number, gradNorm: number): void {
    this.losses.push(loss);
    this.largestNorm = Math.max(this.largestNorm, gradNorm);
  }

  /**
   * What looks as if nothing was learnt, and what to try; undefined where the run looks as it should.
   * @param vocab tokens that the model tells apart
   */
  warning(vocab: number): string | undefined {
    const { losses } = this;
    if (losses.length === 0) return undefined;
    if (this.largestNorm === 0) {
      return 'the gradients were zero at every step, so that nothing was learnt: check that the rows have tokens to learn (lowrank data), and that learning_rate, lora_alpha and the adapted modules are as meant';
    }
    if (losses.length < FEWEST) return undefined;
    const quarter = Math.max(3, Math.floor(losses.length / 4));
    const [first, last] = [statistics(losses.slice(0, quarter)), statistics(losses.slice(-quarter))];
    const rise = last.mean - first.mean;
    if (rise > RISE.share * first.mean && rise > RISE.errors * Math.hypot(first.error, last.error)) {
      return `the training loss rose over the run, from ${first.mean.toFixed(3)} in its first quarter to ${last.mean.toFixed(3)} in its last: try a learning_rate a tenth as large, more warm-up (warmup_ratio) or a smaller max_grad_norm`;
    }
    const chance = Math.log(vocab);
    if (last.mean > CHANCE * chance && !(first.mean - last.mean > RISE.errors * Math.hypot(first.error, last.error))) {
      return `the training loss ends at ${last.mean.toFixed(3)}, no better than guessing among ${vocab} tokens (ln ${vocab} = ${chance.toFixed(3)}): check that tokenizer and weights belong together (lowrank data shows the tokens), and try a larger learning_rate`;
    }
    return undefined;
  }
}

/** Mean and its standard error. */
function statistics(values: readonly number[]): { mean: number; error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { mean, error: Math.sqrt(variance / values.length) };
}
