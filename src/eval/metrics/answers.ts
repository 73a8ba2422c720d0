/**
 * The number in a text after `####` (how GSM8K marks an answer), else the last number of the text; undefined without
 * one.
 */
export function finalNumber(text: string): number | undefined {
  const marked = text.lastIndexOf('####');
  const searched = marked < 0 ? text : text.slice(marked + 4);
  const found = [...searched.matchAll(/-?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)/g)].map(([match]) => match);
  const chosen = marked < 0 ? found.at(-1) : found[0];
  return chosen === undefined ? undefined : Number(chosen.replace(/[$,]/g, ''));
}

/** Whether two texts end in the same number. */
export function sameNumber(prediction: string, answer: string): boolean {
  const [found, wanted] = [finalNumber(prediction), finalNumber(answer)];
  return (
    found !== undefined && wanted !== undefined && Math.abs(found - wanted) <= 1e-6 * Math.max(1, Math.abs(wanted))
  );
}

/** One answer of a multiple-choice question as the model rates it. */
export interface RatedChoice {
  /** Sum of ln p of its tokens after the question. */
  readonly logLikelihood: number;
  /** Its length in UTF-8 bytes: what length normalisation divides by. */
  readonly bytes: number;
  readonly correct: boolean;
}

/** Scores of one multiple-choice question, each in [0, 1]. */
export interface ChoiceScores {
  /** Whether the likeliest choice is right. */
  readonly accuracy: number;
  /** The same after division by length in bytes. */
  readonly normalizedAccuracy: number;
  /** TruthfulQA's MC1: as accuracy, where one choice is right. */
  readonly mc1: number;
  /** TruthfulQA's MC2: the probability of all right choices among all choices. */
  readonly mc2: number;
  /** Probability of the likeliest choice among all: the confidence for calibration. */
  readonly confidence: number;
}

/**
 * Source: Lin et al. 2021, arXiv:2109.07958, for MC1 and MC2; EleutherAI's lm-evaluation-harness for the normalisation
 * by bytes.
 */
export function scoreChoices(choices: readonly RatedChoice[]): ChoiceScores {
  const pick = (rate: (choice: RatedChoice) => number): RatedChoice | undefined =>
    choices.reduce<RatedChoice | undefined>(
      (best, choice) => (best === undefined || rate(choice) > rate(best) ? choice : best),
      undefined,
    );
  const highest = Math.max(...choices.map((choice) => choice.logLikelihood));
  const weights = choices.map((choice) => Math.exp(choice.logLikelihood - highest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const right = weights.reduce((sum, weight, i) => sum + (choices[i]?.correct === true ? weight : 0), 0);
  const accuracy = pick((choice) => choice.logLikelihood)?.correct === true ? 1 : 0;
  return {
    accuracy,
    normalizedAccuracy: pick((choice) => choice.logLikelihood / Math.max(1, choice.bytes))?.correct === true ? 1 : 0,
    mc1: accuracy,
    mc2: right / total,
    confidence: 1 / total,
  };
}
