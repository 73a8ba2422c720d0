import type { JsonRow } from '../../data/row.js';
import { DataError } from '../../errors.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { Decoder } from '../../model/decoder.js';
import { likelihoods } from '../likelihood.js';
import { encodePrompt, textStart } from '../prompt.js';
import type { Scorer } from './metrics.js';
import { rowWriter } from './rows.js';
import type { LossTask } from './schema.js';

/**
 * Loss per predicted token in nats, its exponential, and bits per UTF-8 byte of the predicted text. The first token of
 * a text without a prompt is predicted by nothing and does not count, unless the tokenizer puts a token in front. Texts
 * are cut at `max_length` and at the model's context; `truncated` counts these.
 */
export async function lossScorers(
  task: LossTask,
  rows: readonly JsonRow[],
  {
    decoder,
    tokenizer,
    batchSize,
  }: { readonly decoder: Decoder; readonly tokenizer: Tokenizer; readonly batchSize?: number },
): Promise<{ items: number; truncated: number; metrics: Record<LossTask['metrics'][number], Scorer> }> {
  const room = Math.min(task.max_length, decoder.maxLength);
  const prompt = task.prompt === undefined ? undefined : rowWriter(task.prompt, `${task.name}: prompt`);
  const completion = task.completion === undefined ? undefined : rowWriter(task.completion, `${task.name}: completion`);
  const texts = rows.map((row) => {
    const first = prompt === undefined ? fieldText(row, task.name) : prompt(row);
    const [given, learnt] = completion === undefined ? ['', first] : [first, completion(row)];
    const before = encodePrompt({ text: given }, tokenizer);
    const front = completion !== undefined && before.length === 0 ? textStart(tokenizer) : [];
    const whole = [...front, ...encodePrompt({ text: given + learnt }, tokenizer)];
    const promptLength = Math.max(1, front.length + before.length);
    const ids = whole.slice(0, room);
    const unseen = front.length + before.length === 0 ? shownBytes(tokenizer, ids.slice(0, 1)) : 0;
    const cut = ids.length < whole.length;
    const lost = cut ? shownBytes(tokenizer, whole) - shownBytes(tokenizer, ids) : 0;
    return { ids, promptLength, cut, bytes: utf8(learnt) - unseen - lost };
  });
  const kept = texts.filter(({ ids, promptLength }) => ids.length > promptLength);
  if (kept.length === 0)
    throw new DataError(
      `${task.name}: no row has a token to predict within ${room} tokens (max_length ${task.max_length}, the model's context ${decoder.maxLength})`,
    );
  const rated = await likelihoods(decoder, kept, batchSize);
  const over =
    (value: (loss: number, tokens: number, bytes: number) => number): Scorer =>
    (indices) => {
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
    truncated: texts.filter(({ cut }) => cut).length,
    metrics: {
      loss: over((loss, tokens) => loss / tokens),
      perplexity: over((loss, tokens) => Math.exp(loss / tokens)),
      bits_per_byte: over((loss, _tokens, bytes) => loss / Math.LN2 / bytes),
    },
  };
}

function utf8(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Bytes of the text of a row's first tokens, without those of a character that they end in the middle of. */
function shownBytes(tokenizer: Tokenizer, ids: readonly number[]): number {
  const text = tokenizer.decode(ids);
  let end = text.length;
  while (text[end - 1] === '\ufffd') end--;
  return utf8(text.slice(0, end));
}

function fieldText(row: JsonRow, task: string): string {
  const text = row['text'];
  if (typeof text !== 'string')
    throw new DataError(
      `${task}: a row has no field "text"; prompt names another (the row has ${Object.keys(row).join(', ')})`,
    );
  return text;
}
