import { join } from 'node:path';
import regexp from 'eslint-plugin-regexp';
import tseslint from 'typescript-eslint';
import { roomsPlugin } from './eslint-rooms.js';
import { tfjsPlugin } from './eslint-tfjs.js';

const unsafeAllowed = Object.fromEntries(
  ['argument', 'assignment', 'call', 'member-access', 'return'].map((what) => [
    `@typescript-eslint/no-unsafe-${what}`,
    'off',
  ]),
);

const ownSyntax = [
  {
    selector: "ImportDeclaration[source.value='zod'] > ImportSpecifier",
    message: 'esbuild drops the locales of zod from a bundle only with import * as z.',
  },
  { selector: 'ExportDefaultDeclaration', message: 'Export by name.' },
  { selector: "ExportSpecifier[exported.name='default']", message: 'Export by name.' },
  {
    selector: 'CallExpression[callee.property.name=/^(dataSync|arraySync|bytesSync)$/]',
    message: 'Reading a tensor synchronously stalls the device and fails on WebGPU: await data().',
  },
];

const referencesSyntax = [
  {
    selector: 'Literal[value=/^[.][.][/]shared/], TemplateElement[value.raw=/^[.][.][/]shared/]',
    message:
      'A clone on its own has no references: describeReferences, itReferences and referencePath of test/support/references.ts.',
  },
];

const ownOutput = {
  selector: "CallExpression[callee.property.name='write'][callee.object.property.name=/^(stdout|stderr)$/]",
  message:
    'Text of others may hold what a terminal obeys: print, printExact and printError of src/cli/view/terminal.ts.',
};

export default tseslint.config(
  {
    ignores: [
      'dist/',
      'out/',
      '**/*.generated.ts',
      // AssemblyScript, which a TypeScript parser takes for TypeScript and a type checker does not.
      'kernels/**/*.as.ts',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: join(import.meta.dirname, '..'),
      },
    },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // An async method that has nothing to await yet still belongs to an asynchronous interface.
      '@typescript-eslint/require-await': 'off',
      // `as tf.Tensor2D` says the rank where TensorFlow.js' signatures infer it from the assertion itself.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
    },
  },
  // The declarations of @huggingface/tokenizers and jinja import each other without file endings, which do not resolve.
  { files: ['src/tokenizer/*.ts'], rules: unsafeAllowed },
  // Reference data is JSON, and the matchers of vitest are `any`.
  { files: ['test/**/*.ts'], rules: unsafeAllowed },
  {
    files: ['**/*.{js,mjs}'],
    extends: [tseslint.configs.base],
  },
  {
    files: ['**/*.{ts,js,mjs}'],
    plugins: { rooms: roomsPlugin, tfjs: tfjsPlugin, regexp },
    rules: {
      // Expressions meet texts that others wrote: each takes time in proportion to its text.
      'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
      'regexp/no-super-linear-move': ['error', { report: 'potential' }],
      'regexp/no-dupe-disjunctions': ['error', { report: 'all', reportExponentialBacktracking: 'potential' }],
      'rooms/direction': 'error',
      'rooms/no-cycle': 'error',
      'tfjs/no-private-members': 'error',
      'no-restricted-syntax': ['error', ...ownSyntax],
      'no-var': 'error',
      'prefer-const': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: ['src/cli/**/*.ts'],
    ignores: ['src/cli/view/terminal.ts'],
    rules: { 'no-restricted-syntax': ['error', ...ownSyntax, ownOutput] },
  },
  {
    files: ['test/**/*.ts'],
    ignores: ['test/support/references.ts'],
    rules: { 'no-restricted-syntax': ['error', ...ownSyntax, ...referencesSyntax] },
  },
  {
    // These tools load their configuration from a default export.
    files: ['**/*.config.{js,ts}'],
    rules: { 'no-restricted-syntax': ['error', ...ownSyntax.slice(2)] },
  },
);
