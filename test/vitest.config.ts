import { readFileSync } from 'node:fs';
import { globSync } from 'tinyglobby';
import { defineConfig } from 'vitest/config';

/**
 * The projects. A test file is in the first whose expression is found in its path or text: what a file imports says
 * what it needs, so that nobody has to keep a list.
 */
const PROJECTS = {
  /** Starts processes: the command line, workers, other runtimes; or takes minutes of one core. */
  cli: /^test\/(?:cli|fuzz|scripts)\/|support\/(?:cli|redis|method-run|train-options|train-row)\.js|node:child_process/m,
  /** Runs on WebGPU, next to the other backends that it is compared with. */
  webgpu: /support\/backends\.js'[^]*'(?:webgpu|tiles)'|support\/open-webgpu\.js/,
  /** Opens another device. */
  wasm: /support\/(?:backends|tensorflow)\.js|\b(?:openDevice|openSession|openWasm|nodeHost|finetune)\b/,
  /** Opens no device and starts no process. */
  unit: /(?:)/,
} as const;

type Project = keyof typeof PROJECTS;

const names = Object.keys(PROJECTS) as Project[];
const projectOf = (file: string): Project =>
  names.find((name) => PROJECTS[name].test(`${file}\n${readFileSync(file, 'utf8')}`)) as Project;
const files = globSync('test/**/*.test.ts');

export default defineConfig({
  test: {
    projects: names.map((name) => ({
      extends: true as const,
      test: { name, include: files.filter((file) => projectOf(file) === name) },
    })),
    // Backends keep process-wide state (WASM heaps that only grow, a GPU device): each file gets a fresh process, which
    // gives its memory back at the end. Two at a time, since most of them fill a core.
    pool: 'forks',
    poolOptions: {
      forks: {
        minForks: 1,
        maxForks: 2,
        isolate: true,
        execArgv: process.env['LOWRANK_TEST_OPTIMIZED'] === '1' ? ['--no-liftoff'] : [],
      },
    },
    // Software rendering of WebGPU is a hundred times slower than a GPU.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    teardownTimeout: 30_000,
    coverage: {
      provider: 'v8',
      include: ['src/**', 'kernels/**'],
      exclude: ['**/*.generated.ts', 'kernels/**/wasm.ts'],
    },
  },
});
