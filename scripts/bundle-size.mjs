// node scripts/bundle-size.mjs: the size of a browser bundle of `lowrank`, against the budget in scripts/bundle-budget.json.
// Bundled with esbuild, minified, compressed with gzip: what a page downloads to train and to generate.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const { entry, gzipBytes } = JSON.parse(readFileSync(join(import.meta.dirname, 'bundle-budget.json'), 'utf8'));

const { outputFiles, metafile } = await build({
  stdin: { contents: entry, resolveDir: root, loader: 'ts' },
  bundle: true,
  minify: true,
  splitting: true,
  outdir: join(root, 'out'),
  format: 'esm',
  platform: 'browser',
  // Reached on Node alone, behind `import()`.
  external: ['node:*', 'module', 'fs', 'path', 'os', 'worker_threads', 'perf_hooks'],
  write: false,
  metafile: true,
  logLevel: 'error',
});

/** The files that the page loads at once: the entry and what it imports statically. */
const chunks = new Map(Object.entries(metafile.outputs));
const first = [...chunks].find(([, { entryPoint }]) => entryPoint !== undefined)?.[0] ?? [...chunks.keys()][0];
const loaded = new Set([first]);
for (const file of loaded) {
  for (const { path, kind } of chunks.get(file)?.imports ?? [])
    if (kind === 'import-statement' && chunks.has(path)) loaded.add(path);
}
const bytes = outputFiles
  .filter(({ path }) => [...loaded].some((file) => path.endsWith(file)))
  .reduce((sum, { contents }) => sum + gzipSync(contents).length, 0);

if (process.argv.includes('--packages')) {
  const sizes = new Map();
  for (const file of loaded) {
    for (const [input, { bytesInOutput }] of Object.entries(chunks.get(file)?.inputs ?? {})) {
      const path = input.split('node_modules/').pop() ?? input;
      const name = path
        .split('/')
        .slice(0, path.startsWith('@') || !input.includes('node_modules/') ? 2 : 1)
        .join('/');
      sizes.set(name, (sizes.get(name) ?? 0) + bytesInOutput);
    }
  }
  for (const [name, size] of [...sizes].sort((a, b) => b[1] - a[1]).slice(0, 20)) console.log(`${size}\t${name}`);
}
console.log(`browser bundle: ${(bytes / 1000).toFixed(0)} kB gzip of at most ${gzipBytes / 1000} kB`);
if (bytes > gzipBytes) process.exitCode = 1;
