#!/usr/bin/env bash
# What `npm test` runs: types, lint, embedded kernels, tests; before them it installs what the tests on WebGPU and of queues need, where
# it can. With arguments (`npm test -- test/io`) it runs only vitest, with these, and installs nothing.
#   LOWRANK_REFERENCES=FOLDER where the references are (default: ../shared); `none`: as in a clone that has none
#   LOWRANK_REQUIRE_WEBGPU=1  the suites on WebGPU fail, instead of being skipped, where there is no adapter
#   LOWRANK_TEST_OPTIMIZED=1  V8 compiles WebAssembly with its optimizing compiler alone, which else sees only what runs for long
#   LOWRANK_TEST_JSON=FILE    keep vitest's JSON report
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

# A software adapter compiles each shader with LLVM: most of that time goes into optimising what then runs for milliseconds.
export GALLIVM_PERF=${GALLIVM_PERF:-nopt}

if [ $# -eq 0 ]; then
  bash scripts/install-software-vulkan.sh || echo 'Going on without WebGPU'
  bash scripts/install-redis.sh || echo 'Going on without Redis'
  tsc --noEmit
  prettier --check --log-level warn .
  eslint -c scripts/eslint.config.js .
  npm run --silent lint:package
  if [ -f scripts/embed-kernels.mjs ]; then
    node scripts/embed-kernels.mjs --check
  fi
fi

report=${LOWRANK_TEST_JSON:-}
if [ -z "$report" ]; then
  report=$(mktemp)
  trap 'rm -f "$report"' EXIT
fi
status=0
vitest run --config test/vitest.config.ts --root . --reporter=default --reporter=json --outputFile.json="$report" "$@" || status=$?
node scripts/find-webgpu.mjs 2>/dev/null || true
node scripts/summarize-tests.mjs webgpu "$report"
node scripts/summarize-tests.mjs references "$report"
exit "$status"
