import type * as z from 'zod';
import { allOptions, alternative, describeType, schemaTree, type TypeNode } from './options.js';
import { valueAt } from './overrides.js';

/** One thing wrong with a config. `path` leads to the key that is to blame. */
export interface Problem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What the schema refused, in the words of the option table. */
export function schemaProblems(issues: readonly z.core.$ZodIssue[], values: unknown): Problem[] {
  const problems: Problem[] = [];
  for (const issue of issues) {
    const path = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key));
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) problems.push({ path: [...path, key], message: unknownKey(path, key) });
      continue;
    }
    const inner = issue.code === 'invalid_union' && alternative(nodeAt(path), 'section') !== undefined ? innerIssues(issue) : undefined;
    if (inner !== undefined) {
      problems.push(...schemaProblems(inner, values));
      continue;
    }
    const found = valueAt(values, path);
    const expected = describeType(nodeAt(path));
    problems.push({
      path,
      message: found === undefined ? `is required: ${expected}` : `must be ${expected}, not ${show(found)}`,
    });
  }
  return problems;
}

/** What is wrong with a value that is an entry or a list of them. */
function innerIssues({ errors, path }: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const branch = errors.find((issues) => issues.length > 0 && issues.every((issue) => issue.path.length > 0 || issue.code === 'unrecognized_keys'));
  return branch?.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
}

/** "unknown key" and the most helpful thing to add: the same key in its section, the nearest key, or all keys. */
function unknownKey(section: readonly (string | number)[], key: string): string {
  const elsewhere = allOptions.find((option) => option.path.split('.').at(-1) === key);
  if (elsewhere !== undefined) return `unknown key here: it belongs at ${elsewhere.path}`;
  const siblings = Object.keys(alternative(nodeAt(section), 'section')?.properties ?? {});
  const sibling = nearest(key, siblings);
  if (sibling !== undefined) return `unknown key: did you mean ${sibling}?`;
  const leaves = new Map(allOptions.map((option) => [option.path.split('.').at(-1) ?? '', option.path]));
  const leaf = nearest(key, [...leaves.keys()]);
  if (leaf !== undefined) return `unknown key: did you mean ${leaves.get(leaf) ?? leaf}?`;
  return `unknown key: the keys here are ${siblings.join(', ')}`;
}

/** The schema node of the innermost option or section on the path (an element of a list that is no section belongs to its option). */
function nodeAt(path: readonly (string | number)[]): TypeNode {
  let node = schemaTree;
  for (const key of path) {
    const items = alternative(node, 'list')?.items;
    const next = typeof key === 'string' ? alternative(node, 'section')?.properties?.[key] : items !== undefined && alternative(items, 'section') !== undefined ? items : undefined;
    if (next === undefined) return node;
    node = next;
  }
  return node;
}

/** The candidate within a third of the word's length in edits (at least two), the closest first. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const limit = Math.max(2, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate);
    if (distance < bestDistance && distance < candidate.length) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let distance = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(distance);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
