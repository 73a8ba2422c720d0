import { DataError } from '../../errors.js';
import { openEncoder } from '../metrics/bert-encoder.js';
import { bertScoreMetrics, bertScores } from '../metrics/bertscore.js';
import { TEXT_METRICS, classF1Scorer, type Scorer } from './metrics.js';
import { classF1Name, type GenerateTask } from './schema.js';

type References = readonly (readonly string[])[];

/**
 * Looks for what the metrics of a task need, before anything is generated.
 * @throws ConfigError without an encoder that is asked for; DataError where no item has the class whose F1 is asked
 * for.
 */
export async function checkTextMetrics({ name, metrics }: GenerateTask, references: References): Promise<void> {
  for (const metric of metrics) {
    if (typeof metric === 'string') continue;
    if (metric.name === 'bertscore') await openEncoder(metric);
    else if (!references.some(([first = '']) => first.trim() === metric.label))
      throw new DataError(`${name}: metric f1: no item has the label ${JSON.stringify(metric.label)}`);
  }
}

/** Every metric of a task by the name that it is reported under. */
export async function textScorers(
  { metrics }: GenerateTask,
  answers: readonly string[],
  references: References,
): Promise<Record<string, Scorer>> {
  const scorers: Record<string, Scorer> = {};
  for (const metric of metrics) {
    if (typeof metric === 'string') scorers[metric] = TEXT_METRICS[metric].scorer(answers, references);
    else if (metric.name === 'f1') scorers[classF1Name(metric)] = classF1Scorer(metric.label, answers, references);
    else
      Object.assign(
        scorers,
        bertScoreMetrics(await bertScores(answers, references, await openEncoder(metric), metric)),
      );
  }
  return scorers;
}
