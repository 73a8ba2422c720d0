import { ConfigError, DataError } from '../../errors.js';
import type { Decoder } from '../../model/decoder.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { completePrompts } from '../complete.js';
import { bootstrap, type Interval } from '../metrics/statistics.js';
import { cutPrompt, encodePrompt, textStart } from '../prompt.js';
import { askedPrompt } from './asked.js';
import { choiceScorers } from './choices.js';
import { lossScorers } from './loss.js';
import type { Scorer } from './metrics.js';
import { choiceItems, generateItems, lossRows, type GenerateItem, type TaskSources } from './rows.js';
import type { EvalTask, GenerateTask } from './schema.js';
import { checkTextMetrics, textScorers } from './text-scores.js';

/** A metric over all items of a task, with its bootstrap interval. */
export interface MetricValue extends Interval {
  readonly value: number;
}

export interface TaskResult {
  readonly task: string;
  readonly items: number;
  /**
   * Rows that were too long: prompts cut from the left to fit the model's context, texts of loss tasks from the right.
   */
  readonly truncated: number;
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
  /** Called while answers are generated. */
  readonly onItems?: ((done: number, total: number) => void) | undefined;
}

const SAMPLES = 5;

/**
 * Evaluates a task on a decoder as it is now, with the adapter that is in force.
 * @throws DataError for rows that the task cannot read, and where there are none; ConfigError for a task that the
 * model's context cannot hold.
 */
export async function runTask(task: EvalTask, sources: TaskSources, context: TaskContext): Promise<TaskResult> {
  switch (task.type) {
    case 'generate':
      return runGenerate(task, sources, context);
    case 'multiple_choice': {
      const items = await choiceItems(task, sources);
      const { truncated, metrics } = await choiceScorers(task, items, context);
      return {
        task: task.name,
        items: items.length,
        truncated,
        metrics: measure(items.length, pick(task.metrics, metrics), context),
        samples: [],
      };
    }
    case 'loss': {
      const { items, truncated, metrics } = await lossScorers(task, await lossRows(task, sources), context);
      return {
        task: task.name,
        items,
        truncated,
        metrics: measure(items, pick(task.metrics, metrics), context),
        samples: [],
      };
    }
  }
}

async function runGenerate(task: GenerateTask, sources: TaskSources, context: TaskContext): Promise<TaskResult> {
  const items = await generateItems(task, sources);
  const references = items.map((item) => item.references);
  // What is missing shows before the slow part.
  await checkTextMetrics(task, references);
  const { max_new_tokens: maxNewTokens, top_k: topK, top_p: topP, stop, temperature, seed } = task.generation;
  const { prompts, truncated } = generatePrompts(task, items, context);
  const answers = await completePrompts(context.decoder, context.tokenizer, prompts, {
    maxNewTokens,
    topK,
    topP,
    temperature,
    seed,
    stopStrings: stop,
    batchSize: context.batchSize ?? 16,
    onProgress: context.onItems,
  });
  const scorers = await textScorers(task, answers, references);
  const samples = items
    .slice(0, SAMPLES)
    .map(({ prompt, references: [reference = ''] }, i) => ({ prompt, answer: answers[i] as string, reference }));
  return { task: task.name, items: items.length, truncated, metrics: measure(items.length, scorers, context), samples };
}

/** Prompts that leave room for an answer: longer ones are cut from the left. */
function generatePrompts(
  task: GenerateTask,
  items: readonly GenerateItem[],
  { decoder, tokenizer }: TaskContext,
): { prompts: { tokens: number[] }[]; truncated: number } {
  const { max_new_tokens: answer } = task.generation;
  const room = decoder.maxLength - answer;
  if (room < 1)
    throw new ConfigError(
      `${task.name}: generation.max_new_tokens: ${answer} leave no room for a prompt in the model's context of ${decoder.maxLength}`,
    );
  const whole = items.map(({ prompt }, i) => {
    const ids = encodePrompt(askedPrompt(task, prompt, tokenizer), tokenizer);
    const begun = ids.length === 0 ? textStart(tokenizer) : ids;
    if (begun.length === 0) throw new DataError(`${task.name}: item ${i + 1}: the prompt is empty`);
    return begun;
  });
  return {
    prompts: whole.map((ids) => ({ tokens: cutPrompt(ids, room, tokenizer) })),
    truncated: whole.filter((ids) => ids.length > room).length,
  };
}

function pick<T extends string>(names: readonly T[], scorers: Readonly<Record<T, Scorer>>): Record<string, Scorer> {
  return Object.fromEntries(names.map((name) => [name, scorers[name]]));
}

function measure(
  items: number,
  scorers: Readonly<Record<string, Scorer>>,
  { resamples = 1000 }: TaskContext,
): Record<string, MetricValue> {
  const everything = Array.from({ length: items }, (_, i) => i);
  return Object.fromEntries(
    Object.entries(scorers).map(([name, scorer]) => {
      const value = scorer(everything);
      return [
        name,
        {
          value,
          ...(resamples === 0 ? { low: value, high: value } : bootstrap(items, scorer, { samples: resamples })),
        },
      ];
    }),
  );
}
