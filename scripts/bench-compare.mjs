#!/usr/bin/env node
// A training step here against the same step in PyTorch, in alternation, so that what else the machine does falls on
// both. Prints a Markdown table: medians of the rounds, and the ratio of each round's pair.
// Usage: npm run build && node scripts/bench-compare.mjs [--yardstick FILE.py] [--python PROGRAM] [--rounds 3] [--cases
// tiny:none,tiny:nf4]
//          [--device wasm] [--torch-device cpu] [--dtype f32] [--threads N] [--rank 8] [--steps 10] [--warmup 3]
//          [--batch N] [--seq N] [--json FILE] The yardstick is scripts/bench/torch_step.py, --yardstick or
//          LOWRANK_YARDSTICK: any script that takes its options and prints its JSON.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const inRoot = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

const { values: flags } = parseArgs({
  options: {
    yardstick: { type: 'string', default: process.env.LOWRANK_YARDSTICK || inRoot('scripts/bench/torch_step.py') },
    python: { type: 'string' },
    lowrank: { type: 'string', default: inRoot('dist/src/cli/main.js') },
    rounds: { type: 'string', default: '3' },
    cases: { type: 'string', default: 'tiny:none,tiny:nf4' },
    device: { type: 'string', default: 'wasm' },
    'torch-device': { type: 'string', default: 'cpu' },
    dtype: { type: 'string', default: 'f32' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rank: { type: 'string', default: '8' },
    steps: { type: 'string', default: '10' },
    warmup: { type: 'string', default: '3' },
    batch: { type: 'string' },
    seq: { type: 'string' },
    json: { type: 'string' },
  },
});

/** Threads that spin while they wait take the cores from whoever runs next. */
const ENVIRONMENT = { ...process.env, OMP_WAIT_POLICY: 'passive' };

/** The first Python that has PyTorch: that of the PATH, or Debian's own, which other Pythons may hide. */
function findPython() {
  const candidates = flags.python === undefined ? ['python3', '/usr/bin/python3'] : [flags.python];
  const found = candidates.find(
    (python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore', env: ENVIRONMENT }).status === 0,
  );
  if (found === undefined) {
    fail(`no PyTorch for ${candidates.join(' or ')}. On Debian and Ubuntu:
  apt-get install python3-torch libopenblas0-pthread     (then /usr/bin/python3 has it; name it with --python elsewhere)`);
  }
  return found;
}

function measure(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: ENVIRONMENT,
    maxBuffer: 1 << 26,
  });
  if (status !== 0) fail(`${program} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

if (!existsSync(flags.lowrank)) fail(`${flags.lowrank}: not built (npm run build)`);
if (!existsSync(flags.yardstick)) fail(`${flags.yardstick}: no such file`);
const python = findPython();
// Yardsticks from elsewhere may call the option --quant.
const help = spawnSync(python, [flags.yardstick, '--help'], { encoding: 'utf8', env: ENVIRONMENT }).stdout;
const quantizeOption = help.includes('--quantize') ? '--quantize' : '--quant';
const sizes = [
  ...['rank', 'steps', 'warmup', 'threads', 'batch', 'seq'].flatMap((name) =>
    flags[name] === undefined ? [] : [`--${name}`, flags[name]],
  ),
];

const rows = [];
const all = [];
for (const text of flags.cases.split(',')) {
  const [shape, quantize = 'none'] = text.split(':');
  const pairs = [];
  for (let round = 0; round < Number(flags.rounds); round++) {
    const torch = () =>
      measure(python, [
        flags.yardstick,
        '--shape',
        shape,
        quantizeOption,
        quantize,
        '--device',
        flags['torch-device'],
        '--dtype',
        flags.dtype,
        ...sizes,
      ]);
    const own = () =>
      measure(process.execPath, [
        flags.lowrank,
        'bench',
        'step',
        '--json',
        '--shape',
        shape,
        '--quantize',
        quantize,
        '--device',
        flags.device,
        ...sizes,
      ]);
    // Who goes first changes from round to round.
    const pair = round % 2 === 0 ? { torch: torch(), own: own() } : { own: own(), torch: torch() };
    if (String(pair.torch.dims) !== String(pair.own.dims))
      fail(`${text}: sizes differ: ${pair.torch.dims} and ${pair.own.dims}`);
    const ratio = pair.own.tokens_per_second / pair.torch.tokens_per_second;
    console.error(
      `${text}, round ${round + 1}: PyTorch ${pair.torch.step_ms_median.toFixed(1)} ms, lowrank ${pair.own.step_ms_median.toFixed(1)} ms: ${ratio.toFixed(2)}×`,
    );
    pairs.push({ ...pair, ratio });
  }
  all.push({ shape, quantize, pairs });
  const of = (who, key) => median(pairs.map((pair) => pair[who][key]));
  const ratios = pairs.map((pair) => pair.ratio);
  rows.push([
    `${shape}, ${quantize === 'none' ? 'float32' : quantize}`,
    of('torch', 'step_ms_median').toFixed(1),
    of('own', 'step_ms_median').toFixed(1),
    of('torch', 'tokens_per_second').toFixed(0),
    of('own', 'tokens_per_second').toFixed(0),
    of('torch', 'gflops').toFixed(1),
    of('own', 'gflops').toFixed(1),
    `${median(ratios).toFixed(2)}×`,
    ratios.map((ratio) => ratio.toFixed(2)).join(', '),
    `${(of('own', 'peak_bytes') / of('torch', 'peak_bytes')).toFixed(2)}×`,
  ]);
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(all)}\n`);

const { torch, own } = all[0].pairs[0];
const line = (cells) => `| ${cells.join(' | ')} |`;
console.log(
  `lowrank ${own.version} on ${own.device} (${own.description}, ${own.threads} threads, Node ${own.versions.node}) against PyTorch ${torch.version} on ${torch.device} (${torch.dtype}, ${torch.threads} threads); ${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores; rank ${own.rank}, medians of ${flags.steps} steps, ${flags.rounds} rounds in alternation\n`,
);
console.log(
  line([
    'case',
    'PyTorch ms',
    'lowrank ms',
    'PyTorch tokens/s',
    'lowrank tokens/s',
    'PyTorch GFLOP/s',
    'lowrank GFLOP/s',
    'speed',
    'each round',
    'peak memory',
  ]),
);
console.log(line(['---', ...Array(9).fill('---:')]));
for (const row of rows) console.log(line(row));
