// The rooms of the project, and two lint rules that keep them apart: which room may import which, and no cycles of
// files.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, relative, resolve, sep } from 'node:path';
import ts from 'typescript';

/**
 * Room → the rooms that it may import. Besides, every room of src may import `errors`, `format`, `metric-scales`, `option-types`, `random`, `settings`, `text`,
 * `version` and the types of `config`. A file lies in the room of its folder: src/io/half.ts in `io`,
 * kernels/swiglu/kernel.ts in `kernels`, src/errors.ts in `errors`; src/index.ts and src/node.ts, which the package
 * exports, and what joins the rooms for them are the room `entry`.
 */
export const ROOMS = {
  errors: [],
  format: [],
  'metric-scales': [],
  random: [],
  settings: [],
  text: [],
  version: [],
  config: ['io', 'adapter-options'],
  // The options of the adapter methods, which config joins into its schema: they load no model.
  'adapter-options': [],
  io: [],
  linalg: [],
  'option-types': [],
  report: ['io'],
  kernels: [],
  device: ['kernels'],
  quant: ['kernels', 'io'],
  tokenizer: ['io'],
  data: ['tokenizer', 'io'],
  model: ['kernels', 'quant', 'io'],
  adapters: ['model', 'kernels', 'quant', 'io', 'linalg'],
  train: ['kernels', 'model', 'adapters', 'data', 'io'],
  plan: ['kernels', 'model', 'adapters', 'train'],
  // Evaluations measure what training minimises: train/objectives.
  eval: ['config', 'kernels', 'model', 'data', 'tokenizer', 'train'],
  export: ['kernels', 'model', 'adapters', 'quant', 'tokenizer', 'io'],
  record: ['model', 'adapters', 'data', 'eval', 'tokenizer', 'io'],
  resume: ['train', 'record', 'adapters', 'data', 'io'],
  bench: ['kernels', 'quant', 'device', 'model', 'adapters', 'train'],
  // One training from its config to its files, and many that are compared.
  finetune: 'everything but cli',
  ablation: 'everything but cli',
  inspect: 'everything but cli',
  // Node only: folders, locks, checkpoints on disk, data files, stores, queues.
  workspace: 'everything but cli',
  entry: 'everything but cli',
  cli: 'everything',
};

/** Files that may use what only Node has; all else in src and kernels runs in a browser too. */
const NODE_FILES = [
  /^src\/device\/node(?:-simd|-stderr)?\.ts$/,
  /^src\/io\/(?:node|hub|open-directory)\.ts$/,
  /^src\/workspace\//,
  /^src\/node\.ts$/,
  /^src\/cli\//,
];

/** The only packages that kernels may import. */
const KERNEL_PACKAGE = /^(?:@tensorflow\/|#)tfjs/;

/** Files of src that join all rooms. */
const ENTRIES = new Set(['index', 'node', 'internals', 'session']);

const SHARED_BY_ALL = new Set([
  'errors',
  'format',
  'metric-scales',
  'option-types',
  'random',
  'settings',
  'text',
  'version',
]);

/** Of src/adapters, what has a room of its own; who may import the adapters may import it too. */
const ADAPTER_OPTIONS = /^src\/adapters\/(?:[\w-]+\/)?(?:method-)?options\.ts$/;

/** @returns the room of a path relative to the root; undefined outside src and kernels, where everything is allowed. */
export function roomOf(path) {
  const [top, second, third] = path.split('/');
  if (top === 'kernels') return 'kernels';
  if (top !== 'src' || second === undefined) return undefined;
  if (ADAPTER_OPTIONS.test(path)) return 'adapter-options';
  if (third !== undefined) return second;
  const name = second.replace(/\.ts$/, '');
  return ENTRIES.has(name) ? 'entry' : name;
}

const runsInBrowsers = (path) => roomOf(path) !== undefined && !NODE_FILES.some((pattern) => pattern.test(path));

/** @returns what is wrong with an import, or undefined. `from` and `to` are relative to the root. */
export function directionProblem(from, to, { typeOnly, dynamic }) {
  const room = roomOf(from);
  const target = roomOf(to);
  if (room === undefined) return undefined;
  const allowed = ROOMS[room];
  if (allowed === undefined)
    return `${from} lies in no known room: add \`${room}\` to ROOMS in scripts/eslint-rooms.js`;
  if (target === undefined) return `${room} must not import from outside src and kernels`;
  if (target !== room) {
    if (target === 'cli') return 'nothing may import cli';
    const listed =
      typeof allowed === 'string' ||
      allowed.includes(target) ||
      (target === 'adapter-options' && (room === 'adapters' || allowed.includes('adapters'))) ||
      (room !== 'kernels' && (SHARED_BY_ALL.has(target) || (target === 'config' && typeOnly)));
    if (!listed) {
      const names = allowed.length === 0 ? 'no other room' : allowed.join(', ');
      if (target === 'config') return `${room} may import only types from config`;
      return `${room} must not import ${target} (it may import ${names})`;
    }
  }
  if (runsInBrowsers(from) && !runsInBrowsers(to) && !typeOnly && !dynamic) {
    return `${from} runs in browsers and must not import ${to}, which needs Node`;
  }
  return undefined;
}

function packageProblem(from, name) {
  const room = roomOf(from);
  if (room === undefined) return undefined;
  if (isBuiltin(name) && runsInBrowsers(from)) return `${from} runs in browsers and must not import ${name}`;
  if (room === 'kernels' && !KERNEL_PACKAGE.test(name)) return `kernels may import only TensorFlow.js, not ${name}`;
  return undefined;
}

const direction = {
  meta: { type: 'problem', schema: [], messages: { wrong: '{{problem}}' } },
  create(context) {
    const from = rootRelative(context.cwd, context.filename);
    const check = (node, source, kind) => {
      if (typeof source?.value !== 'string') return;
      const specifier = source.value;
      const problem = specifier.startsWith('.')
        ? directionProblem(from, rootRelative(context.cwd, resolveFile(context.filename, specifier)), kind)
        : packageProblem(from, specifier);
      if (problem !== undefined) context.report({ node, messageId: 'wrong', data: { problem } });
    };
    return {
      ImportDeclaration: (node) => check(node, node.source, { typeOnly: isTypeOnly(node), dynamic: false }),
      ExportNamedDeclaration: (node) => check(node, node.source, { typeOnly: isTypeOnly(node), dynamic: false }),
      ExportAllDeclaration: (node) => check(node, node.source, { typeOnly: isTypeOnly(node), dynamic: false }),
      ImportExpression: (node) => check(node, node.source, { typeOnly: false, dynamic: true }),
      TSImportType: (node) => check(node, node.source, { typeOnly: true, dynamic: false }),
    };
  },
};

const noCycle = {
  meta: { type: 'problem', schema: [], messages: { cycle: 'import cycle: {{chain}}' } },
  create(context) {
    const check = (node) => {
      const specifier = node.source?.value;
      if (typeof specifier !== 'string' || !specifier.startsWith('.')) return;
      const chain = pathBetween(resolveFile(context.filename, specifier), context.filename);
      if (chain === undefined) return;
      const names = [context.filename, ...chain].map((file) => rootRelative(context.cwd, file));
      context.report({ node, messageId: 'cycle', data: { chain: names.join(' → ') } });
    };
    return { ImportDeclaration: check, ExportNamedDeclaration: check, ExportAllDeclaration: check };
  },
};

/** The plugin for eslint.config.js. */
export const roomsPlugin = { meta: { name: 'rooms' }, rules: { direction, 'no-cycle': noCycle } };

function isTypeOnly(node) {
  if (node.importKind === 'type' || node.exportKind === 'type') return true;
  const specifiers = node.specifiers ?? [];
  return specifiers.length > 0 && specifiers.every((s) => s.importKind === 'type' || s.exportKind === 'type');
}

function rootRelative(root, file) {
  return relative(root, file).split(sep).join('/');
}

/** `./x.js` names x.ts in sources. */
function resolveFile(from, specifier) {
  const file = resolve(dirname(from), specifier);
  const source = file.replace(/\.([cm]?)js$/, '.$1ts');
  if (existsSync(source)) return source;
  return existsSync(file) || file === source ? file : source;
}

/** The shortest chain of static imports from one file to another, both ends included. */
function pathBetween(start, goal) {
  const cameFrom = new Map([[start, undefined]]);
  for (const file of cameFrom.keys()) {
    if (file === goal) {
      const chain = [];
      for (let step = file; step !== undefined; step = cameFrom.get(step)) chain.unshift(step);
      return chain;
    }
    for (const next of importsOf(file)) if (!cameFrom.has(next)) cameFrom.set(next, file);
  }
  return undefined;
}

const importCache = new Map();

/** Local files that a file imports statically, for their types too: a cycle of types still ties files into one. */
function importsOf(file) {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile() || !/\.[cm]?[jt]s$/.test(file)) return [];
  const cached = importCache.get(file);
  if (cached?.changed === stat.mtimeMs) return cached.imports;
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, false);
  const imports = [];
  for (const statement of source.statements) {
    if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) continue;
    const specifier = statement.moduleSpecifier?.text;
    if (specifier?.startsWith('.')) imports.push(resolveFile(file, specifier));
  }
  importCache.set(file, { changed: stat.mtimeMs, imports });
  return imports;
}
