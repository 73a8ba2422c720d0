// node scripts/summarize-tests.mjs counts|webgpu|references REPORT: says in one line what a JSON report of vitest
// holds.
import { readFileSync } from 'node:fs';

const [mode, file] = process.argv.slice(2);
const files = readReport(file)?.testResults;

if (mode === 'counts') {
  console.log(describe(count(files ?? [undefined], () => true)));
} else if (mode === 'webgpu') {
  const counts = count(files ?? [], (titles) => titles.some((title) => title.endsWith(' on webgpu')));
  const some = counts.passed + counts.failed + counts.skipped > 0;
  console.log(`Tests on WebGPU: ${some ? describe(counts) : 'none'}`);
} else if (mode === 'references') {
  const { skipped, folders } = countWithoutReferences(files ?? []);
  if (skipped > 0)
    console.log(
      `Skipped, since they need references that are not beside this checkout: ${skipped} tests and suites (${folders})`,
    );
} else {
  console.error('usage: summarize-tests.mjs counts|webgpu|references REPORT');
  process.exit(2);
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    // Something failed before vitest wrote it.
    return undefined;
  }
}

/** A file that failed outside its tests (it did not load, or there is no report at all) counts as one failure. */
function count(testFiles, wanted) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const testFile of testFiles) {
    const tests = testFile?.assertionResults ?? [];
    const failures = tests.filter((test) => test.status === 'failed').length;
    if (testFile?.status !== 'passed' && failures === 0 && wanted([])) counts.failed++;
    for (const test of tests) {
      if (!wanted(test.ancestorTitles)) continue;
      if (test.status === 'passed' || test.status === 'failed') counts[test.status]++;
      else counts.skipped++;
    }
  }
  return counts;
}

function describe({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** What test/support/references.ts skipped: one test stands for a suite, whose body was not read. */
function countWithoutReferences(testFiles) {
  const byFolder = new Map();
  let skipped = 0;
  for (const { assertionResults } of testFiles) {
    for (const { ancestorTitles, title, status } of assertionResults) {
      const needed = /\(needs (\.\.\/shared\/[^)]*)\)/.exec([...ancestorTitles, title].join(' '))?.[1];
      if (needed === undefined || status === 'passed' || status === 'failed') continue;
      skipped++;
      for (const path of needed.split(', ')) {
        // `../shared/reference/metrics/x.json` is of `../shared/reference/metrics`.
        const folder = path
          .split('/')
          .slice(0, path.startsWith('../shared/reference/') ? 4 : 3)
          .join('/');
        byFolder.set(folder, (byFolder.get(folder) ?? 0) + 1);
      }
    }
  }
  return {
    skipped,
    folders: [...byFolder]
      .sort()
      .map(([folder, count]) => `${folder} ${count}`)
      .join(', '),
  };
}
