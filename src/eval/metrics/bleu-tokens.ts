import { splitWords } from './ngrams.js';

/** How BLEU cuts a text into tokens; names as in sacreBLEU. */
export const BLEU_TOKENIZERS = {
  /** That of NIST's mteval-v13a. */
  '13a': (text: string): string[] => {
    const plain = text
      .replaceAll('<skipped>', '')
      .replaceAll('-\n', '')
      .replaceAll('\n', ' ')
      .replaceAll('&quot;', '"')
      .replaceAll('&amp;', '&')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>');
    return splitWords(
      ` ${plain} `
        .replace(/([{-~[-` -&(-+:-@/])/gu, ' $1 ')
        // A full stop or comma is a token of its own unless it stands within a number.
        .replace(/([^0-9])([.,])/gu, '$1 $2 ')
        .replace(/([.,])([^0-9])/gu, ' $1 $2')
        .replace(/([0-9])(-)/gu, '$1 $2 '),
    );
  },
  /** That of mteval-v14 with its international switch: Unicode punctuation and symbols. */
  intl: (text: string): string[] =>
    splitWords(
      text
        .replace(/(\P{N})(\p{P})/gu, '$1 $2 ')
        .replace(/(\p{P})(\P{N})/gu, ' $1 $2')
        .replace(/(\p{S})/gu, ' $1 '),
    ),
  char: (text: string): string[] => splitWords([...text].join(' ')),
  none: splitWords,
} as const satisfies Record<string, (text: string) => string[]>;

export type BleuTokenizer = keyof typeof BLEU_TOKENIZERS;
