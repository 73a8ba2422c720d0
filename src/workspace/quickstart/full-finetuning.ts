import { readFile } from 'node:fs/promises';
import * as z from 'zod';

const schema = z.object({
  /** How it was measured. */
  how: z.string(),
  questions: z.object({ before: z.number(), after: z.number() }),
});

/** What the base model forgets where all of its weights are trained on the quickstart's rows. */
export interface Forgetting {
  /** Shares of the questions that are answered word for word, 0 to 1. */
  readonly before: number;
  readonly after: number;
}

/** Reads what was measured beforehand, and kept beside the quickstart's data with how. */
export async function readForgetting(path: string): Promise<Forgetting> {
  const { questions } = schema.parse(JSON.parse(await readFile(path, 'utf8')));
  return questions;
}
