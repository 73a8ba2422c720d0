import { basename } from 'node:path';

/** What runs on data are called: `dialogues` of `data/dialogues.jsonl.gz`, `data` of `data/*.jsonl`. */
export function dataStem(path: string): string {
  const plain = path
    .replace(/^hub:/, '')
    .split(/[\\/]/)
    .filter((part) => part !== '' && part !== '.' && !/[*?{}]/.test(part))
    .join('/');
  return (
    basename(plain)
      .split('.')
      .find((part) => part !== '') ?? 'run'
  );
}
