import { isRecord } from '../io/json.js';

/** A text in the form that a tokenizer works on; its code unit i stands for [from[i], to[i]) of the original text. */
export interface AlignedText {
  readonly text: string;
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** A part of a text before normalisation. */
export function plainText(text: string, start: number, end: number): AlignedText {
  const [from, to]: [number[], number[]] = [[], []];
  for (let at = start; at < end;) {
    const width = (text.codePointAt(at) as number) > 0xffff ? 2 : 1;
    for (let i = 0; i < width; i++) {
      from.push(at);
      to.push(at + width);
    }
    at += width;
  }
  return { text: text.slice(start, end), from, to };
}

/**
 * Normalises as a tokenizer.json says, keeping track of where each character comes from, as the native library does.
 * @param apply the library's normalizer, for kinds that are followed character by character
 * @returns undefined for what cannot be followed
 */
export function normaliseAligned(
  input: AlignedText,
  normalizer: unknown,
  apply: (text: string) => string,
): AlignedText | undefined {
  const result = follow(input, normalizer);
  const wanted = apply(input.text);
  if (result?.text === wanted) return result;
  const byCharacter = clusters(input, apply);
  return byCharacter.text === wanted ? byCharacter : undefined;
}

function follow(input: AlignedText, normalizer: unknown): AlignedText | undefined {
  if (!isRecord(normalizer) || input.text === '') return input;
  switch (normalizer['type']) {
    case 'Sequence': {
      const parts = normalizer['normalizers'];
      if (!Array.isArray(parts)) return undefined;
      return parts.reduce<AlignedText | undefined>(
        (text, part: unknown) => (text === undefined ? undefined : follow(text, part)),
        input,
      );
    }
    case 'Prepend': {
      const front = String(normalizer['prepend']);
      const [from, to] = [input.from[0] as number, input.to[0] as number];
      const added = Array.from(front, () => 0);
      return {
        text: front + input.text,
        from: [...added.map(() => from), ...input.from],
        to: [...added.map(() => to), ...input.to],
      };
    }
    case 'Replace': {
      const pattern = normalizer['pattern'];
      const what = isRecord(pattern) ? pattern['String'] : undefined;
      return typeof what === 'string' && what !== '' ? replaced(input, what, String(normalizer['content'])) : undefined;
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD': {
      const form = normalizer['type'];
      return clusters(input, (text) => text.normalize(form));
    }
    default:
      return undefined;
  }
}

function replaced(input: AlignedText, what: string, content: string): AlignedText {
  const [from, to]: [number[], number[]] = [[], []];
  let [text, copied] = ['', 0];
  for (let at = input.text.indexOf(what); at >= 0; at = input.text.indexOf(what, at + what.length)) {
    text += input.text.slice(copied, at) + content;
    for (let i = copied; i < at; i++) {
      from.push(input.from[i] as number);
      to.push(input.to[i] as number);
    }
    copied = at + what.length;
    for (let i = 0; i < content.length; i++) {
      from.push(input.from[copied - 1] as number);
      to.push(input.to[copied - 1] as number);
    }
  }
  for (let i = copied; i < input.text.length; i++) {
    from.push(input.from[i] as number);
    to.push(input.to[i] as number);
  }
  return { text: text + input.text.slice(copied), from, to };
}

/** A character and the marks that combine with it; the sounds of a Hangul syllable are one. */
const CLUSTER = /[^\p{M}][\p{M}\u1160-\u11ff]*|\p{M}+/gu;

/** Normalises cluster by cluster; the n-th character of the outcome comes from the n-th of the cluster. */
function clusters(input: AlignedText, apply: (text: string) => string): AlignedText {
  const [from, to]: [number[], number[]] = [[], []];
  let text = '';
  for (const { 0: cluster, index } of input.text.matchAll(CLUSTER)) {
    const normal = isPlain(cluster) ? cluster : apply(cluster);
    const points = Array.from(cluster);
    let [unit, point] = [index, 0];
    for (const char of normal) {
      for (let i = 0; i < char.length; i++) {
        from.push(input.from[unit] as number);
        to.push(input.to[unit] as number);
      }
      if (point < points.length - 1) unit += (points[point++] as string).length;
    }
    text += normal;
  }
  return { text, from, to };
}

function isPlain(cluster: string): boolean {
  return cluster.length === 1 && cluster >= '!' && cluster <= '@';
}
