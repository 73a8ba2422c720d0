import { DataError } from '../../errors.js';
import type { Decoder } from '../../model/decoder.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { likelihoods, type RatedTokens } from '../likelihood.js';
import { scoreChoices, type ChoiceScores } from '../metrics/answers.js';
import { mean } from '../metrics/scores.js';
import { calibrationError } from '../metrics/statistics.js';
import { cutPrompt, encodePrompt, textStart } from '../prompt.js';
import { askedPrompt } from './asked.js';
import type { Scorer } from './metrics.js';
import type { ChoiceItem } from './rows.js';
import type { ChoiceTask } from './schema.js';

/**
 * Rates the choices of every item. Where prompt and choice do not fit into the model's context the prompt is cut from
 * the left; `truncated` counts these items.
 * @throws DataError for a choice that leaves no room for a prompt.
 */
export async function choiceScorers(
  task: ChoiceTask,
  items: readonly ChoiceItem[],
  {
    decoder,
    tokenizer,
    batchSize,
  }: { readonly decoder: Decoder; readonly tokenizer: Tokenizer; readonly batchSize?: number },
): Promise<{ truncated: number; metrics: Record<ChoiceTask['metrics'][number], Scorer> }> {
  const { maxLength } = decoder;
  let truncated = 0;
  const rows = items.flatMap((item, i) => {
    const whole = choiceRows(task, item, tokenizer);
    if (whole.some(({ ids }) => ids.length > maxLength)) truncated++;
    return whole.map(({ ids, promptLength }) => {
      const answer = ids.length - promptLength;
      if (answer >= maxLength)
        throw new DataError(
          `${task.name}: item ${i + 1}: a choice of ${answer} tokens; the model's context is ${maxLength}`,
        );
      const kept = cutPrompt(ids, maxLength, tokenizer);
      return { ids: kept, promptLength: kept.length - answer };
    });
  });
  const rated = await likelihoods(decoder, rows, batchSize);
  const encoder = new TextEncoder();
  let at = 0;
  const scores: ChoiceScores[] = items.map(({ choices }) =>
    scoreChoices(
      choices.map(({ text, correct }) => ({
        logLikelihood: rated[at++]?.logLikelihood ?? 0,
        bytes: encoder.encode(text.trimStart()).length,
        correct,
      })),
    ),
  );
  const average =
    (of: (score: ChoiceScores) => number): Scorer =>
    (indices) =>
      mean(indices.map((i) => of(scores[i] as ChoiceScores)));
  return {
    truncated,
    metrics: {
      accuracy: average((score) => score.accuracy),
      accuracy_norm: average((score) => score.normalizedAccuracy),
      mc1: average((score) => score.mc1),
      mc2: average((score) => score.mc2),
      calibration_error: (indices) =>
        calibrationError(
          indices.map((i) => (scores[i] as ChoiceScores).confidence),
          indices.map((i) => scores[i]?.accuracy === 1),
        ),
    },
  };
}

/** Prompt and choice, as many tokens as they are, a row a choice. */
function choiceRows(task: ChoiceTask, { prompt, choices }: ChoiceItem, tokenizer: Tokenizer): RatedTokens[] {
  const asked = askedPrompt(task, prompt, tokenizer);
  const given = encodePrompt(asked, tokenizer);
  const front = given.length === 0 ? textStart(tokenizer) : [];
  return choices.map(({ text }) => {
    const ids =
      'text' in asked
        ? [...front, ...encodePrompt({ text: asked.text + text }, tokenizer)]
        : [...given, ...tokenizer.encode(text.trimStart(), { addSpecialTokens: false })];
    // Nothing predicts the first token of all.
    return { ids, promptLength: Math.max(1, Math.min(front.length + given.length, ids.length - 1)) };
  });
}
