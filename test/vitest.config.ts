import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
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
  },
});
