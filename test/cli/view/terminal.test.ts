import { spawn, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleLowrank, lowrank, outcomeOf } from '../../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../../support/tiny-model.js';

const BASE = resolve('configs/quickstart/base');
const HOSTILE = '\x1b]52;c;AAAA\x07\x1b[2J\x9b31m\r\u202e';
const SHOWN = '\\u001b]52;c;AAAA\\u0007\\u001b[2J\\u009b31m\\r\\u202e';
/** A terminal whose bytes can be read: script of util-linux. */
const noScript = /-c, --command/.test(spawnSync('script', ['--help'], { encoding: 'utf8' }).stdout ?? '')
  ? undefined
  : 'no script(1) of util-linux';

let folder: string;
let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-terminal-'));
  await mkdir(join(folder, `data${HOSTILE}`));
  await writeFile(
    join(folder, 'rows.jsonl'),
    toJsonl([
      { prompt: `Q: ${HOSTILE}\nA:`, completion: ` two${HOSTILE}` },
      { prompt: 'a', completion: '' },
    ]),
  );
  await writeFile(
    join(folder, 'run.yaml'),
    `model: ${BASE}\ndata: { train: rows.jsonl }\ntraining: { output_dir: out }\n`,
  );
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(
    join(folder, 'train.yaml'),
    'model: ./model\ndevice: wasm\ndata: { train: train.jsonl }\ntraining: { output_dir: trained, max_steps: 1000000, save_strategy: no, logging_steps: 1 }\n',
  );
  bundle = await bundleLowrank();
});

afterAll(async () => {
  await bundle.remove();
  await rm(folder, { recursive: true, force: true });
});

/** The bytes that a terminal gets. */
function onTerminal(...args: string[]): string {
  const quoted = [process.execPath, bundle.main, ...args].map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(' ');
  return spawnSync('script', ['-qec', quoted, '/dev/null'], { encoding: 'utf8', env: { ...process.env, NO_COLOR: '' } })
    .stdout;
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
    expect(
      [...text.matchAll(/\x1b\[?[^m]*m?/g)]
        .map(([found]) => found)
        .filter((found) => !['\x1b[32m', '\x1b[39m'].includes(found)),
    ).toEqual([]);
    expect(text).toContain('\x1b[32m');
  });
});

/** What is told to a terminal that stays so: modes of it that are switched and not switched back. */
function leftModes(text: string): string[] {
  const modes = new Map<string, string>();
  for (const [, mode = '', to = ''] of text.matchAll(/\x1b\[\?(\d+)([hl])/g)) modes.set(mode, to);
  // Line wrap (7) and the cursor (25) are on by default, all others off.
  return [...modes]
    .filter(([mode, to]) => to !== (['7', '25'].includes(mode) ? 'h' : 'l'))
    .map(([mode, to]) => `?${mode}${to}`);
}

describe.skipIf(noScript !== undefined)('a terminal', () => {
  for (const end of ['a second Ctrl-C', 'SIGKILL'] as const) {
    it(`is as it was after ${end} in the middle of a run`, async () => {
      const command = `exec '${process.execPath}' '${bundle.main}' train '${join(folder, 'train.yaml')}' --set training.overwrite_output_dir=true`;
      const child = spawn('script', ['-qec', command, '/dev/null'], {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, LOWRANK_THREADS: '1' },
      });
      let text = '';
      let stage = 0;
      const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
      child.stdout.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        if (stage === 0 && text.includes('/1000000') && /loss \d/.test(text)) {
          stage = 1;
          // Keys, as a terminal has them.
          if (end === 'a second Ctrl-C') child.stdin.write('\x03');
          else
            for (const pid of spawnSync('ps', ['-o', 'pid=', '--ppid', String(child.pid)], { encoding: 'utf8' })
              .stdout.trim()
              .split(/\s+/))
              process.kill(Number(pid), 'SIGKILL');
        } else if (stage === 1 && text.includes('stopping after')) {
          stage = 2;
          child.stdin.write('\x03');
        }
      });
      const status = await ended;
      if (end === 'a second Ctrl-C') expect([0, 130], text).toContain(status);
      expect(stage, text).toBeGreaterThan(0);
      expect(leftModes(text)).toEqual([]);
    }, 120_000);
  }
});

describe('a reader that goes away', () => {
  const pipe = (args: string, reader: string): Promise<{ status: number | null; stdout: string; stderr: string }> =>
    outcomeOf(
      spawn('bash', ['-c', `set -o pipefail; '${process.execPath}' '${bundle.main}' ${args} | ${reader}`], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, LOWRANK_THREADS: '1' },
      }),
    );

  it('ends a command without a stack and with the status of SIGPIPE', async () => {
    const generated = await pipe(
      `generate --model '${BASE}' --device wasm --prompt 'Anna:' --max-new-tokens 60`,
      'head -c 1',
    );
    expect([generated.status, generated.stdout.length]).toEqual([141, 1]);
    const listed = await pipe('config-reference', 'true');
    expect([listed.status, listed.stderr]).toEqual([141, '']);
    expect(generated.stderr).not.toMatch(/ {4}at |EPIPE|unexpected/);
  }, 120_000);
});
