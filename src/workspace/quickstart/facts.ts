/** A dialogue with two speakers, line by line, and two summaries of it. */
export interface Summarised {
  readonly prompt: string;
  readonly reference: string;
  readonly completion: string;
}

const WHEN = /\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b|\b[a-z]+ o'clock\b/g;

/** Whether a summary names each speaker, and in the order of the reference: who asks whom is part of it. */
export function namesRight({ prompt, reference, completion }: Summarised): boolean {
  const speakers = [...new Set(Array.from(prompt.matchAll(/^(\p{Lu}\p{L}*): /gmu), ([, name]) => name as string))];
  const order = (text: string): string => {
    const words: string[] = text.match(/\p{L}+/gu) ?? [];
    const at = (name: string): number => words.indexOf(name);
    return speakers
      .filter((name) => at(name) >= 0)
      .sort((a, b) => at(a) - at(b))
      .join(' ');
  };
  return (
    speakers.every((name) => order(completion).split(' ').includes(name)) && order(completion) === order(reference)
  );
}

/**
 * Whether a summary has the weekdays and hours of the reference, and no other; undefined where the reference has none.
 */
export function whenRight({ reference, completion }: Summarised): boolean | undefined {
  const wanted = reference.match(WHEN);
  return wanted === null ? undefined : wanted.join() === (completion.match(WHEN) ?? []).join();
}
