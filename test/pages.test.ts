import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { globSync } from 'tinyglobby';
import { describe, expect, it } from 'vitest';

const pages = globSync(['README.md', 'CONTRIBUTING.md', 'docs/*.md', 'docs/recipes/*.md']).sort();

describe.each(pages)('%s', (page) => {
  const text = readFileSync(resolve(page), 'utf8');

  it('names only files that are there', () => {
    const named = [...text.matchAll(/`((?:src|kernels|configs|test|scripts|docs)\/[\w./-]*)`/g)];
    expect(named.map((match) => match[1] as string).filter((path) => !existsSync(resolve(path)))).toEqual([]);
  });

  it('links only to files that are there', () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => (match[1] as string).replace(/#.*/, ''))
      .filter((link) => link !== '' && !/^https?:/.test(link));
    expect(links.filter((link) => !existsSync(resolve(dirname(page), link)))).toEqual([]);
  });
});
