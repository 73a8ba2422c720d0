import type { TableBlock } from '../document.js';

/** A prompt with what one or several models say to it. */
export interface AnswerSample {
  readonly prompt: string;
  /** Answers by the name of the model, `reference` among them where there is one. */
  readonly answers: Readonly<Record<string, string>>;
}

/** Prompts beside the answers, a column a model. */
export function samplesTable(caption: string, samples: readonly AnswerSample[]): TableBlock | undefined {
  if (samples.length === 0) return undefined;
  const models = [...new Set(samples.flatMap(({ answers }) => Object.keys(answers)))];
  return { type: 'table', caption, columns: ['prompt', ...models], rows: samples.map(({ prompt, answers }) => [prompt, ...models.map((model) => answers[model])]) };
}
