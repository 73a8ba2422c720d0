import type { Random } from '../../src/random.js';

export type Files = Record<string, Uint8Array | string>;

/** Values that are of another type or size than a reader expects. */
const NASTY: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  2 ** 31,
  2 ** 53,
  1e308,
  '',
  'x',
  '../../etc/passwd',
  '\u0000',
  '__proto__',
  '(a+)+$',
  '(',
  '{{ range(10**9) }}',
  '\ud800',
  [],
  {},
  [null],
  [[]],
  { type: null },
  [1, 'a', {}],
];
const NASTY_TEXT = [
  '"',
  '\\',
  '{',
  '[',
  '}',
  ']',
  ',',
  ':',
  '\n',
  '\r',
  '\u0000',
  '&a *a',
  '- ',
  '<<: *a',
  '{%',
  '%}',
  '{{',
  '}}',
  '|',
  '(',
  '*',
  '1e999',
  '-',
  '\ufeff',
  '\ud800',
  'null',
  '!!js/function x',
];

/** Changes one of the files: its structure where it is JSON, its text, or its bytes. */
export function mutate(files: Files, random: Random): Files {
  const names = Object.keys(files);
  const name = names[random.below(names.length)] as string;
  const content = files[name] as Uint8Array | string;
  const times = 1 + random.below(3);
  let changed = content;
  for (let i = 0; i < times; i++) changed = change(changed, random);
  if (random.below(40) === 0) {
    const without = { ...files };
    delete without[name];
    return without;
  }
  return { ...files, [name]: changed };
}

function change(content: Uint8Array | string, random: Random): Uint8Array | string {
  if (typeof content !== 'string') return changeBytes(content, random);
  if (random.below(3) > 0) {
    try {
      return JSON.stringify(changeJson(JSON.parse(content), random));
    } catch {
      // No JSON, or nested deeper than can be written.
    }
  }
  return changeText(content, random);
}

function changeJson(value: unknown, random: Random): unknown {
  const inside = typeof value === 'object' && value !== null && Object.keys(value).length > 0;
  if (!inside || random.below(4) === 0) return nasty(value, random);
  if (Array.isArray(value)) {
    const list = [...(value as unknown[])];
    const at = random.below(list.length);
    if (random.below(5) === 0) list.splice(at, random.below(2), ...(random.below(2) === 0 ? [list[at], list[at]] : []));
    else list[at] = changeJson(list[at], random);
    return list;
  }
  const entries = Object.entries(value);
  const at = random.below(entries.length);
  const [key, inner] = entries[at] as [string, unknown];
  const kind = random.below(10);
  if (kind === 0) entries.splice(at, 1);
  else if (kind === 1) entries.push([String(NASTY[random.below(NASTY.length)]), inner]);
  else if (kind === 2) entries[at] = [key, (entries[random.below(entries.length)] as [string, unknown])[1]];
  else entries[at] = [key, changeJson(inner, random)];
  return Object.fromEntries(entries);
}

function nasty(value: unknown, random: Random): unknown {
  const kind = random.below(12);
  if (kind === 0) return nested(random.below(3) === 0 ? 6000 : 20, random);
  if (kind === 1) return 'ab '.repeat(random.below(20_000));
  if (kind === 2 && typeof value === 'number') return value * [-1, 2, 1000, 2 ** 40][random.below(4)]!;
  if (kind === 3 && typeof value === 'string') return changeText(value, random);
  return NASTY[random.below(NASTY.length)];
}

function nested(depth: number, random: Random): unknown {
  let value: unknown = 1;
  const list = random.below(2) === 0;
  for (let i = 0; i < depth; i++) value = list ? [value] : { a: value };
  return value;
}

function changeText(text: string, random: Random): string {
  const at = random.below(text.length + 1);
  const length = random.below(Math.min(text.length - at + 1, 40));
  switch (random.below(5)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + text.slice(at + length);
    case 2:
      return text.slice(0, at) + text.slice(at, at + length).repeat(1 + random.below(50)) + text.slice(at);
    case 3:
      return (
        text.slice(0, at) +
        (NASTY_TEXT[random.below(NASTY_TEXT.length)] as string).repeat(random.below(4) === 0 ? 3000 : 1) +
        text.slice(at + (random.below(2) === 0 ? 0 : length))
      );
    default:
      return text.slice(0, at) + JSON.stringify(NASTY[random.below(NASTY.length)]) + text.slice(at + length);
  }
}

function changeBytes(bytes: Uint8Array, random: Random): Uint8Array {
  const changed = bytes.slice();
  // Headers stand at the begin and the end of a file.
  const near = Math.min(bytes.length, 200);
  const at =
    bytes.length === 0
      ? 0
      : ([random.below(bytes.length), random.below(near), bytes.length - 1 - random.below(near)][
          random.below(3)
        ] as number);
  switch (random.below(6)) {
    case 0:
      return changed.subarray(0, at);
    case 1:
      changed[at] = random.below(256);
      return changed;
    case 2:
      changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
      return changed;
    case 3:
      changed.fill([0, 0x7f, 0x80, 0xff][random.below(4)] as number, at, at + 1 + random.below(8));
      return changed;
    case 4: {
      const piece = changed.subarray(at, at + random.below(64));
      return Uint8Array.of(...changed.subarray(0, at), ...piece, ...changed.subarray(at));
    }
    default:
      return Uint8Array.of(...changed.subarray(0, at), ...changed.subarray(at + 1 + random.below(32)));
  }
}
