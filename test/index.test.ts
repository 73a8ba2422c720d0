import { existsSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

/** Everything that a file pulls in when it runs: local files, walked through, and packages. Imports of types vanish. */
function importsOf(entry: string): { files: string[]; packages: string[] } {
  const files = new Set([resolve(entry)]);
  const packages = new Set<string>();
  for (const file of files) {
    for (const specifier of runtimeSpecifiers(file)) {
      if (!specifier.startsWith('.')) {
        packages.add(specifier);
        continue;
      }
      const path = resolve(dirname(file), specifier.replace(/\.js$/, '.ts'));
      expect(existsSync(path), `${file} imports ${specifier}`).toBe(true);
      files.add(path);
    }
  }
  return { files: [...files].map((file) => relative('.', file)), packages: [...packages].sort() };
}

const NOT_LITERAL = 'not a literal';

function runtimeSpecifiers(file: string): string[] {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const typeOnly =
      (ts.isImportDeclaration(node) && node.importClause?.isTypeOnly === true) ||
      (ts.isExportDeclaration(node) && node.isTypeOnly);
    if (
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) &&
      !typeOnly &&
      node.moduleSpecifier !== undefined
    ) {
      found.push((node.moduleSpecifier as ts.StringLiteral).text);
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      found.push(argument !== undefined && ts.isStringLiteral(argument) ? argument.text : NOT_LITERAL);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

describe('the public API', () => {
  it('pulls in nothing that a browser lacks', () => {
    const { files, packages } = importsOf('src/index.ts');
    expect(files.length).toBeGreaterThan(50);
    expect(packages.filter((name) => isBuiltin(name))).toEqual([]);
    expect(files.filter((file) => /^src\/(?:cli\/|node\.ts|io\/(?:node|hub)\.ts|device\/node\.ts)/.test(file))).toEqual(
      [],
    );
    const others = packages.filter((name) => !/^(?:@tensorflow\/|#)tfjs/.test(name));
    expect(others.filter((name) => name !== NOT_LITERAL)).toEqual([
      '@huggingface/jinja',
      '@huggingface/tokenizers',
      '@noble/hashes/sha2.js',
      '@noble/hashes/utils.js',
      'fzstd',
      'hyparquet',
      'hyparquet-compressors',
      'hyparquet/src/column.js',
      'pako',
      'papaparse',
      're2js',
      'yaml',
      'zod',
    ]);
    expect(files.filter((file) => runtimeSpecifiers(file).includes(NOT_LITERAL))).toEqual([]);
  });

  it('has everything else under internals, and the ops under kernels', async () => {
    const internals = await import('../src/internals.js');
    expect(Object.keys(internals)).toEqual(expect.arrayContaining(Object.keys(await import('../src/index.js'))));
    expect(internals.loadAdapter).toBeTypeOf('function');
    expect(internals.kernels.rmsNorm).toBeTypeOf('function');
  });

  it('would tell if it did', () => {
    expect(importsOf('src/node.ts').packages).toEqual(expect.arrayContaining(['node:fs/promises', 'webgpu']));
  });

  it('has the ways in', async () => {
    const api = await import('../src/index.js');
    for (const name of ['finetune', 'openSession', 'generate', 'evaluateLoss', 'openDevice'] as const) {
      expect(api[name], name).toBeTypeOf('function');
    }
    expect(api.loadTokenizer).toBeTypeOf('function');
    expect(api.browserHost).toHaveProperty('gpu');
  });
});
