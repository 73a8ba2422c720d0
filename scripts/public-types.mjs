// Declarations of the public entries, `lowrank` and `lowrank/node`, that compile without skipLibCheck: a copy of those
// that the entries reach, in dist/types, in which the types of TensorFlow.js, WebGPU and the tokenizers' library are
// those of foreign-types.d.ts. TensorFlow.js' own declarations do not compile under strict settings, and bring an old
// version of the WebGPU types, which collides with that of newer libraries. `lowrank/kernels` is for users of
// TensorFlow.js and keeps its types.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const ENTRIES = ['src/index.d.ts', 'src/node.d.ts'];
const FOREIGN = 'foreign-types.d.ts';
/** Packages whose declarations compile on their own, and those whose few types are in foreign-types.d.ts. */
const SOUND = new Set(['zod', 'zod/v4/core']);
const STOOD_IN = new Set(['@tensorflow/tfjs-core', '@huggingface/tokenizers']);

/** Of a folder that has been compiled. @throws Error for a public type that names another package. */
export function writePublicTypes(root) {
  const dist = join(root, 'dist');
  const types = join(dist, 'types');
  const foreign = join(import.meta.dirname, FOREIGN);
  const gpuTypes = new Set(
    [...readFileSync(foreign, 'utf8').matchAll(/^export type (GPU\w*)/gm)].map(([, name]) => name),
  );
  rmSync(types, { recursive: true, force: true });
  const files = new Set(ENTRIES.map((entry) => join(dist, entry)).filter((file) => existsSync(file)));
  if (files.size === 0) return;
  const problems = [];
  for (const file of files) {
    const target = join(types, relative(dist, file));
    const foreignPath = relative(dirname(target), join(types, FOREIGN))
      .replaceAll('\\', '/')
      .replace(/\.d\.ts$/, '.js');
    // What is imported for its effect has no types.
    const text = readFileSync(file, 'utf8').replace(/^\/\/# sourceMappingURL=.*$|^import ['"][^'"]+['"];$/gm, '');
    const written = text.replace(/(\bfrom\s+|\bimport\()(['"])([^'"]+)\2/g, (all, before, quote, specifier) => {
      if (specifier.startsWith('.')) {
        const next = resolve(dirname(file), specifier.replace(/\.js$/, '.d.ts'));
        if (!existsSync(next)) problems.push(`${specifier} has no declarations`);
        else files.add(next);
        return all;
      }
      if (STOOD_IN.has(specifier)) return `${before}${quote}${foreignPath}${quote}`;
      if (!SOUND.has(specifier))
        problems.push(`${relative(dist, file)} names ${specifier}: a public type that users would need to compile`);
      return all;
    });
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '');
    const used = [...new Set(code.match(/\bGPU\w*\b/g) ?? [])].filter((name) => gpuTypes.has(name));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(
      target,
      used.length === 0 ? written : `import type { ${used.sort().join(', ')} } from '${foreignPath}';\n${written}`,
    );
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
  mkdirSync(types, { recursive: true });
  copyFileSync(foreign, join(types, FOREIGN));
}
