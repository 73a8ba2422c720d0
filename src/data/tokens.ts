import type { EncodedRow } from './encode.js';
import { IGNORED } from './encode.js';
import { checkRow } from './formats.js';
import type { JsonRow } from './row.js';

/**
 * A pretokenised row, taken as it is: no special token is added, labels default to the ids. Trailing zeros of the
 * attention mask are padding and dropped.
 * @returns the row, or what is wrong with it.
 */
export function readTokens(row: JsonRow): EncodedRow | { readonly problem: string } {
  const problem = checkRow(row, 'tokens');
  if (problem !== undefined) return { problem };
  const ids = row['input_ids'] as number[];
  const labels = (row['labels'] ?? ids) as number[];
  const mask = (row['attention_mask'] ?? undefined) as number[] | undefined;
  if (labels.length !== ids.length)
    return { problem: `"labels" has ${labels.length} entries, "input_ids" ${ids.length}` };
  const negative = ids.findIndex((id) => id < 0);
  if (negative >= 0) return { problem: `input_ids[${negative}] is ${ids[negative]}` };
  if (mask === undefined) return { ids: [...ids], labels: [...labels] };
  if (mask.length !== ids.length)
    return { problem: `"attention_mask" has ${mask.length} entries, "input_ids" ${ids.length}` };
  const odd = mask.findIndex((bit) => bit !== 0 && bit !== 1);
  if (odd >= 0) return { problem: `attention_mask[${odd}] is ${mask[odd]}, neither 0 nor 1` };
  const length = mask.lastIndexOf(1) + 1;
  const hole = mask.indexOf(0);
  if (hole >= 0 && hole < length)
    return { problem: `attention_mask[${hole}] is 0 before the last 1: only padding at the end can be read` };
  return { ids: ids.slice(0, length), labels: labels.slice(0, length) };
}

/** The first id or label outside of the vocabulary, in words; undefined when all are inside. */
export function vocabularyProblem({ ids, labels }: EncodedRow, vocabSize: number): string | undefined {
  const id = ids.findIndex((value) => value >= vocabSize);
  if (id >= 0) return `token id ${ids[id]} at ${id} is outside of the vocabulary of ${vocabSize}`;
  const label = labels.findIndex((value) => value !== IGNORED && (value < 0 || value >= vocabSize));
  if (label >= 0)
    return `label ${labels[label]} at ${label} is neither -100 nor inside of the vocabulary of ${vocabSize}`;
  return undefined;
}
