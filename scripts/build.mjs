// node scripts/build.mjs [--if-needed]: compiles the sources of the folder that it is started in into dist.
// With --if-needed only where a source has changed since: npm runs `prepare` also when `npx lowrank` links this folder.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { writePublicTypes } from './public-types.mjs';

const INPUTS = [
  'src',
  'kernels',
  'scripts/tsconfig.build.json',
  'scripts/public-types.mjs',
  'scripts/foreign-types.d.ts',
  'tsconfig.json',
  'package-lock.json',
];
/** Written when a build has succeeded. */
const STAMP = 'dist/.built';

if (process.argv.includes('--if-needed') && builtAt() > Math.max(...INPUTS.map(changedAt))) process.exit(0);
// Files whose source was moved or removed must not stay.
for (const folder of ['dist/src', 'dist/kernels', 'dist/types', STAMP])
  rmSync(folder, { recursive: true, force: true });
const { status } = spawnSync(
  process.execPath,
  [createRequire(import.meta.url).resolve('typescript/bin/tsc'), '-p', 'scripts/tsconfig.build.json'],
  { stdio: 'inherit' },
);
if (status === 0) {
  // It imports for effects alone. Declarations keep such imports, and tools would look for the types of what is imported.
  const registration = 'dist/kernels/tfjs/register-gradients.d.ts';
  if (existsSync(registration)) writeFileSync(registration, 'export {};\n');
  writePublicTypes(process.cwd());
  writeFileSync(STAMP, '');
}
process.exit(status ?? 1);

/** Milliseconds; before all times where there is no finished build. */
function builtAt() {
  return statSync(STAMP, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}

/** When a file, or anything in a folder, was last changed, added or removed. */
function changedAt(path) {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return -Infinity;
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(stats.mtimeMs, ...readdirSync(path).map((name) => changedAt(join(path, name))));
}
