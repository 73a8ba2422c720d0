import type { ModelConfig } from '../../model/config.js';
import type { TokenIndices } from './config.js';

/**
 * The rows that are trained when tokens have been added: theirs and those that were asked for. An output layer of its
 * own has rows of its own.
 */
export function withTokenRows(
  model: ModelConfig,
  given: TokenIndices | undefined,
  ids: readonly number[],
): TokenIndices {
  const { embedding, head } = model.family.modules;
  const last = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
  const joined = (rows: readonly number[] | undefined): number[] =>
    [...new Set([...(rows ?? []), ...ids])].sort((a, b) => a - b);
  if (model.tiedHead) return joined(isList(given) ? given : Object.values(given ?? {})[0]);
  const named = isList(given) ? { [last(embedding)]: given } : (given ?? {});
  return { ...named, [last(embedding)]: joined(named[last(embedding)]), [last(head)]: joined(named[last(head)]) };
}

/** Tokens that a model knows with an adapter on it: new rows follow its own. */
export function grownVocabulary(model: ModelConfig, given: TokenIndices | undefined): number {
  return Math.max(model.vocabSize, ...(isList(given) ? given : Object.values(given ?? {}).flat()).map((id) => id + 1));
}

function isList(indices: TokenIndices | undefined): indices is readonly number[] {
  return Array.isArray(indices);
}
