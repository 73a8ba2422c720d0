import type * as z from 'zod';
import { allOptions, alternative, describeType, schemaTree, type Option, type TypeNode } from './options.js';
import { valueAt } from './overrides.js';

/** One thing wrong with a config. `path` leads to the key that is to blame. */
export interface Problem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** A schema as data, and the options that have a place of their own in it. */
export interface SchemaWords {
  readonly tree: TypeNode;
  readonly options: readonly Pick<Option, 'path'>[];
}

/** The schema of a run. */
const RUN: SchemaWords = { tree: schemaTree, options: allOptions };

/** What a schema (that of a run unless given) refused, in the words of the option table. */
export function schemaProblems(
  issues: readonly z.core.$ZodIssue[],
  values: unknown,
  words: SchemaWords = RUN,
): Problem[] {
  const nodeAt = (path: Problem['path']): TypeNode => findNode(path, words.tree, values);
  const problems: Problem[] = [];
  for (const issue of issues) {
    const path = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key));
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys)
        problems.push({ path: [...path, key], message: unknownKey(path, key, words, values) });
      continue;
    }
    const inner =
      issue.code === 'invalid_union' && alternative(nodeAt(path), 'section') !== undefined
        ? innerIssues(issue)
        : undefined;
    if (inner !== undefined) {
      problems.push(...schemaProblems(inner, values, words));
      continue;
    }
    const found = valueAt(values, path);
    const node = nodeAt(path);
    const expected = describeType(node);
    const meant = typeof found === 'string' ? nearest(found, namesOf(node)) : undefined;
    problems.push({
      path,
      message:
        found === undefined
          ? `is required: ${expected}`
          : `must be ${expected}, not ${show(found)}${meant === undefined ? '' : `: did you mean ${meant}?`}`,
    });
  }
  return problems;
}

/** What is wrong with a value that is an entry or a list of them. */
function innerIssues({ errors, path }: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const branches = errors.filter(
    (issues) =>
      issues.length > 0 && issues.every((issue) => issue.path.length > 0 || issue.code === 'unrecognized_keys'),
  );
  // Of entries that go by their names the one whose name is right.
  const branch = branches.find((issues) => !issues.some((issue) => issue.path[0] === 'name')) ?? branches[0];
  return branch?.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
}

/** "unknown key" and the most helpful thing to add: the same key in its section, the nearest key, or all keys. */
function unknownKey(
  section: readonly (string | number)[],
  key: string,
  { tree, options }: SchemaWords,
  values: unknown,
): string {
  const elsewhere = options.find((option) => option.path.split('.').at(-1) === key);
  if (elsewhere !== undefined) return `unknown key here: it belongs at ${elsewhere.path}`;
  const siblings = Object.keys(alternative(findNode(section, tree, values), 'section')?.properties ?? {});
  const sibling = nearest(key, siblings);
  if (sibling !== undefined) return `unknown key: did you mean ${sibling}?`;
  const leaves = new Map(options.map((option) => [option.path.split('.').at(-1) ?? '', option.path]));
  const leaf = nearest(key, [...leaves.keys()]);
  if (leaf !== undefined) return `unknown key: did you mean ${leaves.get(leaf) ?? leaf}?`;
  return `unknown key: the keys here are ${siblings.join(', ')}`;
}

/**
 * The schema node of the innermost option or section on the path (an element of a list that is no section belongs to
 * its option).
 */
function findNode(path: readonly (string | number)[], tree: TypeNode, values: unknown): TypeNode {
  let node = tree;
  for (const [depth, key] of path.entries()) {
    const section = chosen(node, valueAt(values, path.slice(0, depth)));
    if (section.oneOf !== undefined && key === 'type')
      return { enum: section.oneOf.map((each) => each.properties?.['type']?.const) };
    const items = alternative(section, 'list')?.items;
    const next =
      typeof key === 'string'
        ? alternative(section, 'section')?.properties?.[key]
        : items !== undefined && alternative(items, 'section') !== undefined
          ? items
          : undefined;
    if (next === undefined) return section;
    node = next;
  }
  return chosen(node, valueAt(values, path));
}

/** Of sections that go by `type` or `name` the one that the value names. */
function chosen(node: TypeNode, value: unknown): TypeNode {
  if (typeof value !== 'object' || value === null) return node;
  const named = (each: TypeNode): boolean =>
    (['type', 'name'] as const).some(
      (key) =>
        each.properties?.[key]?.const !== undefined &&
        each.properties[key].const === (value as Record<string, unknown>)[key],
    );
  return [...(node.oneOf ?? []), ...(node.anyOf ?? [])].find(named) ?? node;
}

/** Words that a value may be. */
function namesOf(node: TypeNode): string[] {
  return [
    ...(node.enum ?? []),
    ...(node.anyOf ?? []).flatMap(namesOf),
    ...(node.items === undefined ? [] : namesOf(node.items)),
  ].map(String);
}

/** All problems of a file, each with its place. */
export function describeProblems(
  problems: readonly Problem[],
  what: string,
  locate: (path: Problem['path']) => string,
): string {
  const lines = problems.map(({ path, message }) => {
    const key = path.reduce<string>((name, part) => {
      if (typeof part === 'number') return `${name}[${part}]`;
      return name === '' ? part : `${name}.${part}`;
    }, '');
    return key === ''
      ? `${locate(path)}: the ${what.split(' ')[0] ?? ''} ${message}`
      : `${locate(path)}: ${key} ${message}`;
  });
  const only = lines.length === 1 ? lines[0] : undefined;
  return only ?? `${lines.length} problems in the ${what}\n  ${lines.join('\n  ')}`;
}

/** The candidate within a third of the word's length in edits (at least two), the closest first. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const limit = Math.max(2, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
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
