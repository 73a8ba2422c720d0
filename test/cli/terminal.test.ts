import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleLowrank, lowrank } from '../support/cli.js';
import { toJsonl } from '../support/tiny-model.js';

const BASE = resolve('configs/quickstart/base');
const HOSTILE = '\x1b]52;c;AAAA\x07\x1b[2J\x9b31m\r\u202e';
const SHOWN = '\\u001b]52;c;AAAA\\u0007\\u001b[2J\\u009b31m\\r\\u202e';
/** A terminal whose bytes can be read: script of util-linux. */
const noScript = /-c, --command/.test(spawnSync('script', ['--help'], { encoding: 'utf8' }).stdout ?? '') ? undefined : 'no script(1) of util-linux';

let folder: string;
let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-terminal-'));
  await mkdir(join(folder, `data${HOSTILE}`));
  await writeFile(join(folder, 'rows.jsonl'), toJsonl([{ prompt: `Q: ${HOSTILE}\nA:`, completion: ` two${HOSTILE}` }, { prompt: 'a', completion: '' }]));
  await writeFile(join(folder, 'run.yaml'), `model: ${BASE}\ndata: { train: rows.jsonl }\ntraining: { output_dir: out }\n`);
  bundle = await bundleLowrank();
});

afterAll(async () => {
  await bundle.remove();
  await rm(folder, { recursive: true, force: true });
});

/** The bytes that a terminal gets. */
function onTerminal(...args: string[]): string {
  const quoted = [process.execPath, bundle.main, ...args].map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(' ');
  return spawnSync('script', ['-qec', quoted, '/dev/null'], { encoding: 'utf8', env: { ...process.env, NO_COLOR: '' } }).stdout;
}

describe('text of others on a terminal', () => {
  it('is shown in samples of data, in errors and in tables', async () => {
    const { stdout } = await lowrank('data', join(folder, 'run.yaml'));
    expect(stdout).toContain(`Q: ${SHOWN}\n`);
    expect(stdout).not.toContain('\x1b');
    const json = await lowrank('data', join(folder, 'run.yaml'), '--json');
    expect(json.stdout).not.toMatch(/[\x9b\u202e]/);
    expect(JSON.stringify(JSON.parse(json.stdout))).toContain(JSON.stringify(HOSTILE).slice(1, -1));
    const missing = await lowrank('inspect', join(folder, `data${HOSTILE}`));
    expect(missing.stderr).toContain(`data${SHOWN}`);
    expect(missing.stderr).not.toContain('\x1b');
    const unknown = await lowrank(`x${HOSTILE}`);
    expect(unknown.stderr).not.toContain('\x1b');
  });

  it.skipIf(noScript !== undefined)('is shown on a terminal beside own colours', () => {
    const text = onTerminal('data', join(folder, 'run.yaml'));
    expect(text).toContain(SHOWN);
    expect([...text.matchAll(/\x1b\[?[^m]*m?/g)].map(([found]) => found).filter((found) => !['\x1b[32m', '\x1b[39m'].includes(found))).toEqual([]);
    expect(text).toContain('\x1b[32m');
  });
});
