import type { JsonRow } from '../../data/row.js';
import { DataError } from '../../errors.js';
import { compileTemplate } from '../../tokenizer/template.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { Decoder } from '../../model/decoder.js';
import { likelihoods } from '../likelihood.js';
import { encodePrompt } from '../prompt.js';
import type { Scorer } from './metrics.js';
import type { LossTask } from './schema.js';

/**
 * Loss per predicted token in nats, its exponential, and bits per UTF-8 byte of the predicted text. The first token of a text without a
 * prompt is predicted by nothing and does not count, unless the tokenizer puts a token in front.
 */
export async function lossScorers(
  task: LossTask,
  rows: readonly JsonRow[],
  { decoder, tokenizer, batchSize }: { readonly decoder: Decoder; readonly tokenizer: Tokenizer; readonly batchSize?: number },
): Promise<{ items: number; metrics: Record<LossTask['metrics'][number], Scorer> }> {
  const prompt = task.prompt === undefined ? undefined : compileTemplate(task.prompt, `${task.name}: prompt`);
  const completion = task.completion === undefined ? undefined : compileTemplate(task.completion, `${task.name}: completion`);
  const encoder = new TextEncoder();
  const texts = rows.map((row) => {
    const first = prompt === undefined ? fieldText(row, task.name) : prompt.render({ ...row, row });
    const given = completion === undefined ? '' : first;
    const learnt = completion === undefined ? first : completion.render({ ...row, row });
    const ids = encodePrompt({ text: given + learnt }, tokenizer).slice(0, task.max_length);
    const promptLength = Math.max(1, completion === undefined ? 1 : encodePrompt({ text: given }, tokenizer).length);
    return { ids, promptLength, bytes: encoder.encode(tokenizer.decode(ids.slice(promptLength))).length };
  });
  const kept = texts.filter(({ ids, promptLength }) => ids.length > promptLength);
  if (kept.length === 0) throw new DataError(`${task.name}: no row has a token to predict within max_length ${task.max_length}`);
  const rated = await likelihoods(decoder, kept, batchSize);
  const over = (value: (loss: number, tokens: number, bytes: number) => number): Scorer => (indices) => {
    let [loss, tokens, bytes] = [0, 0, 0];
    for (const i of indices) {
      loss -= rated[i]?.logLikelihood ?? 0;
      tokens += rated[i]?.tokens ?? 0;
      bytes += kept[i]?.bytes ?? 0;
    }
    return value(loss, tokens, bytes);
  };
  return {
    items: kept.length,
    metrics: {
      loss: over((loss, tokens) => loss / tokens),
      perplexity: over((loss, tokens) => Math.exp(loss / tokens)),
      bits_per_byte: over((loss, _tokens, bytes) => loss / Math.LN2 / bytes),
    },
  };
}

function fieldText(row: JsonRow, task: string): string {
  const text = row['text'];
  if (typeof text !== 'string') throw new DataError(`${task}: a row has no field "text"; prompt names another (the row has ${Object.keys(row).join(', ')})`);
  return text;
}
