import { FormatError } from '../errors.js';
import { isRecord, parseJson } from './json.js';

/** A member of the outermost object: where its key begins and its value lies in the text. */
interface Member {
  readonly key: string;
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

/**
 * Changes members of the outermost object of a JSON text and leaves every other byte: numbers keep their spelling
 * (Python writes 10000.0 and 1e-05), keys their order. Undefined removes a member. A new one goes where sorted keys
 * want it, if they are sorted, else to the end; it is indented like the text, two blanks where that has none.
 * @throws FormatError when the text is no JSON object.
 */
export function editJson(text: string, changes: Readonly<Record<string, unknown>>, name: string): string {
  let edited = text;
  for (const [key, value] of Object.entries(changes)) edited = editMember(edited, key, value, name);
  return edited;
}

function editMember(text: string, key: string, value: unknown, name: string): string {
  const members = outerMembers(text, name);
  const at = members.findIndex((member) => member.key === key);
  const found = members[at];
  const indent = indentOf(text, members);
  const written = value === undefined ? '' : JSON.stringify(value, null, indent.length).replaceAll('\n', `\n${indent}`);
  if (found !== undefined) {
    if (value !== undefined) return text.slice(0, found.valueStart) + written + text.slice(found.end);
    const [previous, next] = [members[at - 1], members[at + 1]];
    if (next !== undefined) return text.slice(0, found.start) + text.slice(next.start);
    return (
      (previous === undefined ? text.slice(0, found.start).trimEnd() : text.slice(0, previous.end)) +
      text.slice(found.end)
    );
  }
  if (value === undefined) return text;
  const member = `${JSON.stringify(key)}: ${written}`;
  const last = members.at(-1);
  if (last === undefined) return `{\n${indent}${member}\n}`;
  const sorted = members.every((other, i) => i === 0 || (members[i - 1] as Member).key < other.key);
  const after = sorted ? members.find((other) => other.key > key) : undefined;
  if (after !== undefined) return `${text.slice(0, after.start)}${member},\n${indent}${text.slice(after.start)}`;
  return `${text.slice(0, last.end)},\n${indent}${member}${text.slice(last.end)}`;
}

function indentOf(text: string, members: readonly Member[]): string {
  const before = text.slice(0, members[0]?.start ?? 0);
  return /\n([ \t]+)$/.exec(before)?.[1] ?? '  ';
}

function outerMembers(text: string, name: string): Member[] {
  // Checked first, so that the walk below may trust the grammar.
  if (!isRecord(parseJson(text, name))) throw new FormatError(`${name}: must be a JSON object`);
  const members: Member[] = [];
  const space = (from: number): number => {
    let at = from;
    while (at < text.length && ' \t\n\r'.includes(text[at] as string)) at++;
    return at;
  };
  let at = space(text.indexOf('{') + 1);
  while (text[at] !== '}') {
    const start = at;
    const keyEnd = stringEnd(text, start);
    const valueStart = space(space(keyEnd) + 1);
    const end = valueEnd(text, valueStart);
    members.push({ key: JSON.parse(text.slice(start, keyEnd)) as string, start, valueStart, end });
    at = space(end);
    if (text[at] === ',') at = space(at + 1);
  }
  return members;
}

function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

function valueEnd(text: string, start: number): number {
  let at = start;
  let depth = 0;
  for (;;) {
    const char = text[at];
    if (char === '"') {
      at = stringEnd(text, at);
    } else {
      if (depth === 0 && /[,}\]\s]/.test(char as string)) return at;
      if (char === '{' || char === '[') depth++;
      if (char === '}' || char === ']') depth--;
      at++;
    }
    if (depth === 0 && /["}\]]/.test(text[at - 1] as string)) return at;
  }
}
