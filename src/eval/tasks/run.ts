import type { Decoder } from '../../model/decoder.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { completePrompts } from '../complete.js';
import { likelihoods } from '../likelihood.js';
import { scoreChoices, type ChoiceScores } from '../metrics/answers.js';
import { openEncoder } from '../metrics/bert-encoder.js';
import { bertScoreMetrics, bertScores } from '../metrics/bertscore.js';
import { mean } from '../metrics/scores.js';
import { bootstrap, calibrationError, type Interval } from '../metrics/statistics.js';
import { encodePrompt } from '../prompt.js';
import { lossScorers } from './loss.js';
import { TEXT_METRICS, type Scorer } from './metrics.js';
import { choiceItems, generateItems, readTaskRows, type TaskSources } from './rows.js';
import type { ChoiceTask, EvalTask, GenerateTask } from './schema.js';

/** A metric over all items of a task, with its bootstrap interval. */
export interface MetricValue extends Interval {
  readonly value: number;
}

export interface TaskResult {
  readonly task: string;
  readonly items: number;
  readonly metrics: Readonly<Record<string, MetricValue>>;
  /** Some answers, to be looked at. */
  readonly samples: readonly { readonly prompt: string; readonly answer: string; readonly reference: string }[];
}

export interface TaskContext {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly batchSize?: number;
  /** Draws of the bootstrap. Default 1000; 0 leaves intervals out (they are the value). */
  readonly resamples?: number;
}

const SAMPLES = 5;

/** Which way is better, by the name of the metric. */
export function lowerIsBetter(metric: string): boolean {
  return metric === 'loss' || metric === 'perplexity' || metric === 'bits_per_byte' || metric === 'calibration_error' || metric === 'ter';
}

/**
 * Evaluates a task on a decoder as it is now, with the adapter that is in force.
 * @throws DataError for rows that the task cannot read.
 */
export async function runTask(task: EvalTask, sources: TaskSources, context: TaskContext): Promise<TaskResult> {
  switch (task.type) {
    case 'generate':
      return runGenerate(task, sources, context);
    case 'multiple_choice':
      return runChoices(task, sources, context);
    case 'loss': {
      const rows = await readTaskRows(sources.data, task.limit);
      const scorers = await lossScorers(task, rows, context);
      return { task: task.name, items: scorers.items, metrics: measure(scorers.items, pick(task.metrics, scorers.metrics), context), samples: [] };
    }
  }
}

async function runGenerate(task: GenerateTask, sources: TaskSources, context: TaskContext): Promise<TaskResult> {
  const items = await generateItems(task, sources);
  // What is missing shows before the slow part.
  for (const metric of task.metrics) if (typeof metric !== 'string') await openEncoder(metric);
  const { max_new_tokens: maxNewTokens, top_k: topK, top_p: topP, stop, temperature, seed } = task.generation;
  const prompts = items.map(({ prompt }) => asked(task, prompt, context.tokenizer));
  const answers = await completePrompts(context.decoder, context.tokenizer, prompts, { maxNewTokens, topK, topP, temperature, seed, stopStrings: stop, batchSize: context.batchSize ?? 16 });
  const references = items.map((item) => item.references);
  const scorers: Record<string, Scorer> = {};
  for (const metric of task.metrics) {
    if (typeof metric === 'string') scorers[metric] = TEXT_METRICS[metric].scorer(answers, references);
    else Object.assign(scorers, bertScoreMetrics(await bertScores(answers, references, await openEncoder(metric), metric)));
  }
  const samples = items.slice(0, SAMPLES).map(({ prompt, references: [reference = ''] }, i) => ({ prompt, answer: answers[i] as string, reference }));
  return { task: task.name, items: items.length, metrics: measure(items.length, scorers, context), samples };
}

async function runChoices(task: ChoiceTask, sources: TaskSources, context: TaskContext): Promise<TaskResult> {
  const { decoder, tokenizer, batchSize } = context;
  const items = await choiceItems(task, sources);
  const rows = items.flatMap(({ prompt, choices }) => {
    const written = asked(task, prompt, tokenizer);
    const given = 'text' in written ? encodePrompt(written, tokenizer) : [...written.tokens];
    return choices.map(({ text }) => {
      const ids = 'text' in written ? encodePrompt({ text: written.text + text }, tokenizer) : [...given, ...tokenizer.encode(text.trimStart(), { addSpecialTokens: false })];
      return { ids, promptLength: Math.min(given.length, ids.length - 1) };
    });
  });
  const rated = await likelihoods(decoder, rows, batchSize);
  const encoder = new TextEncoder();
  let at = 0;
  const scores: ChoiceScores[] = items.map(({ choices }) =>
    scoreChoices(choices.map(({ text, correct }) => ({ logLikelihood: rated[at++]?.logLikelihood ?? 0, bytes: encoder.encode(text.trimStart()).length, correct }))),
  );
  const average = (of: (score: ChoiceScores) => number): Scorer => (indices) => mean(indices.map((i) => of(scores[i] as ChoiceScores)));
  const all: Record<ChoiceTask['metrics'][number], Scorer> = {
    accuracy: average((score) => score.accuracy),
    accuracy_norm: average((score) => score.normalizedAccuracy),
    mc1: average((score) => score.mc1),
    mc2: average((score) => score.mc2),
    calibration_error: (indices) => calibrationError(indices.map((i) => (scores[i] as ChoiceScores).confidence), indices.map((i) => scores[i]?.accuracy === 1)),
  };
  return { task: task.name, items: items.length, metrics: measure(items.length, pick(task.metrics, all), context), samples: [] };
}

/** A prompt as the model is asked it: as it is, or as the user's turn of a conversation. */
function asked(task: GenerateTask | ChoiceTask, prompt: string, tokenizer: Tokenizer): { readonly text: string } | { readonly tokens: readonly number[] } {
  return task.chat ? { tokens: encodePrompt({ messages: [{ role: 'user', content: prompt }] }, tokenizer) } : { text: prompt };
}

function pick<T extends string>(names: readonly T[], scorers: Readonly<Record<T, Scorer>>): Record<string, Scorer> {
  return Object.fromEntries(names.map((name) => [name, scorers[name]]));
}

function measure(items: number, scorers: Readonly<Record<string, Scorer>>, { resamples = 1000 }: TaskContext): Record<string, MetricValue> {
  const everything = Array.from({ length: items }, (_, i) => i);
  return Object.fromEntries(
    Object.entries(scorers).map(([name, scorer]) => {
      const value = scorer(everything);
      return [name, { value, ...(resamples === 0 ? { low: value, high: value } : bootstrap(items, scorer, { samples: resamples })) }];
    }),
  );
}
