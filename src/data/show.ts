import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Example } from './examples.js';
import { IGNORED } from './encode.js';

export interface Marks {
  readonly open: string;
  readonly close: string;
}

/**
 * The text of an example, special tokens included, with what is learnt between marks; without a tokenizer its token
 * ids.
 */
export function renderExample(
  example: Pick<Example, 'inputIds' | 'labels'>,
  tokenizer: Tokenizer | undefined,
  { open, close }: Marks = { open: '⟦', close: '⟧' },
): string {
  const { inputIds, labels } = example;
  const decode = (ids: Int32Array): string => tokenizer?.decode(ids) ?? ids.join(' ');
  let shown = '';
  let done = '';
  for (let begin = 0; begin < inputIds.length;) {
    const learnt = labels[begin] !== IGNORED;
    let end = begin;
    while (end < inputIds.length && (labels[end] !== IGNORED) === learnt) end++;
    // Decoding from the start keeps spaces that a decoder strips at the beginning of a text.
    const text = decode(inputIds.subarray(0, end));
    const piece = text.slice(done.length);
    shown += learnt ? `${open}${piece}${close}` : piece;
    done = text;
    begin = end;
  }
  return shown;
}
