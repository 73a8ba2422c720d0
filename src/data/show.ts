import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Example } from './examples.js';
import { IGNORED } from './encode.js';

export interface Marks {
  readonly open: string;
  readonly close: string;
}

/** The text of an example, special tokens included, with what is learnt between marks. */
export function renderExample(
  example: Pick<Example, 'inputIds' | 'labels'>,
  tokenizer: Tokenizer,
  { open, close }: Marks = { open: '⟦', close: '⟧' },
): string {
  const { inputIds, labels } = example;
  let shown = '';
  let done = '';
  for (let begin = 0; begin < inputIds.length; ) {
    const learnt = labels[begin] !== IGNORED;
    let end = begin;
    while (end < inputIds.length && (labels[end] !== IGNORED) === learnt) end++;
    // Decoding from the start keeps spaces that a decoder strips at the beginning of a text.
    const text = tokenizer.decode(inputIds.subarray(0, end));
    const piece = text.slice(done.length);
    shown += learnt ? `${open}${piece}${close}` : piece;
    done = text;
    begin = end;
  }
  return shown;
}
