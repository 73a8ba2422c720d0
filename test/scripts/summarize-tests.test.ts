import { spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'lowrank-'));
writeFileSync(
  join(folder, 'a.test.mjs'),
  `import { describe, expect, it } from 'vitest';
   describe('op on webgpu', () => { it('a', () => expect(1).toBe(1)); it.skip('b', () => {}); it.todo('c'); });
   it('d', () => expect(1).toBe(2));
   it('e', () => expect(1).toBe(1));`,
);
writeFileSync(join(folder, 'b.test.mjs'), `throw new Error('does not load');`);
writeFileSync(
  join(folder, 'c.test.mjs'),
  `import { describe, it } from 'vitest';
   it.skip('f (needs ../shared/models/tiny)', () => {});
   describe('g (needs ../shared/reference/metrics/a.json, ../shared/models)', () => { it.skip('h', () => {}); });`,
);

function summarize(mode: string, report: string): string {
  return spawnSync('node', ['scripts/summarize-tests.mjs', mode, report], { encoding: 'utf8' }).stdout;
}

describe('summarize-tests', () => {
  it('counts what a real report of vitest holds', () => {
    const report = join(folder, 'report.json');
    // Vitest resolves its own name from the folder of the test files.
    spawnSync('ln', ['-s', join(process.cwd(), 'node_modules'), join(folder, 'node_modules')]);
    const args = [
      'node_modules/vitest/vitest.mjs',
      'run',
      '--root',
      folder,
      '--reporter=json',
      `--outputFile=${report}`,
    ];
    const { status } = spawnSync('node', args, { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(summarize('counts', report)).toBe('2 passed, 2 failed, 4 skipped\n');
    expect(summarize('webgpu', report)).toBe('Tests on WebGPU: 1 passed, 0 failed, 2 skipped\n');
    expect(summarize('references', report)).toBe(
      'Skipped, since they need references that are not beside this checkout: 2 tests and suites (../shared/models 2, ../shared/reference/metrics 1)\n',
    );
  });

  it('counts a missing report as a failure', () => {
    expect(summarize('counts', join(folder, 'none.json'))).toBe('0 passed, 1 failed, 0 skipped\n');
    expect(summarize('webgpu', join(folder, 'none.json'))).toBe('Tests on WebGPU: none\n');
    expect(summarize('references', join(folder, 'none.json'))).toBe('');
  });
});
