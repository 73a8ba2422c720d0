/**
 * Words in lower case without punctuation, contractions in two (`do n't`, `it 's`): close to the Penn Treebank tokens
 * without punctuation that the COCO caption scripts take, which come from a Java tool. Numbers (`1,234.56`) and
 * abbreviations (`i.e.`) stay whole, as there.
 */
export function captionWords(text: string): string[] {
  return text
    .toLowerCase()
    .replace(/n['’]t\b/g, " n't")
    .replace(/['’](s|re|ve|ll|d|m)\b/g, " '$1")
    .replace(/([$£€%])/g, ' $1 ')
    .split(
      /(?:(?!(?<=\d)[.,](?=\d)|(?<=\b\w)\.(?=\w\.)|(?<=\w\.\w)\.)[\s.,!?;:()[\]{}"`“”…])+|(?<!\w)'(?!\w)|--+|\s-\s/,
    )
    .filter((word): word is string => word !== undefined && /[^'’-]/.test(word));
}
