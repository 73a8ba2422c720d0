import type { TableBlock } from '../document.js';
import type { RecordInput, RunInput } from '../inputs.js';

/** A prompt with what one or several models say to it. */
export interface AnswerSample {
  readonly prompt: string;
  /** Answers by the name of the model, `reference` among them where there is one. */
  readonly answers: Readonly<Record<string, string>>;
}

/** Models whose answers stand in columns; those of more stand under each other. */
const MOST_COLUMNS = 3;

/** Prompts beside the answers. */
export function samplesTable(caption: string, samples: readonly AnswerSample[]): TableBlock | undefined {
  if (samples.length === 0) return undefined;
  const models = [...new Set(samples.flatMap(({ answers }) => Object.keys(answers)))];
  if (models.length <= MOST_COLUMNS) {
    return {
      type: 'table',
      caption,
      columns: ['prompt', ...models],
      rows: samples.map(({ prompt, answers }) => [prompt, ...models.map((model) => answers[model])]),
    };
  }
  const rows = samples.flatMap(({ prompt, answers }) =>
    models
      .filter((model) => answers[model] !== undefined)
      .map((model, i) => [i === 0 ? prompt : '', model, answers[model]]),
  );
  return { type: 'table', caption, columns: ['prompt', 'model', 'answer'], rows };
}

/** What several models said to the items of tasks, task by task, with the reference before them. */
export function answersByTask(
  models: readonly { readonly name: string; readonly answers: RunInput['answers'] }[],
): { readonly task: string; readonly samples: readonly AnswerSample[] }[] {
  const tasks = new Map<string, Map<string, Record<string, string>>>();
  for (const { name, answers } of models) {
    for (const { task, prompt, answer, reference } of answers) {
      const samples = tasks.get(task) ?? new Map<string, Record<string, string>>();
      tasks.set(
        task,
        samples.set(prompt, { ...(reference === '' ? {} : { reference }), ...samples.get(prompt), [name]: answer }),
      );
    }
  }
  return [...tasks].map(([task, samples]) => ({
    task,
    samples: [...samples].map(([prompt, answers]) => ({ prompt, answers })),
  }));
}

/**
 * What trained models said to prompts of their data right after training, by the name of the model; a prompt is shown
 * once.
 */
export function recordedSamples(
  records: Readonly<Record<string, RecordInput | undefined>>,
  decode: (ids: readonly number[]) => string,
): AnswerSample[] {
  const byPrompt = new Map<string, Record<string, string>>();
  for (const [model, record] of Object.entries(records)) {
    for (const { prompt, tokens } of record?.replays ?? []) {
      const text = decode(prompt);
      byPrompt.set(text, { ...byPrompt.get(text), [model]: decode(tokens) });
    }
  }
  return [...byPrompt].map(([prompt, answers]) => ({ prompt, answers }));
}
