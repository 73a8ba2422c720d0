import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChildReport, RunOrder } from '../../../src/workspace/queue/child.js';
import { Processes } from '../../../src/workspace/queue/processes.js';

/** Tells which process it is, and ends as the order's id says. */
const SCRIPT = `
process.on('disconnect', () => process.exit(1));
process.on('message', ({ id }) => {
  process.send({ type: 'note', text: String(process.pid) });
  if (id === 'crash') process.kill(process.pid, 'SIGKILL');
  else process.send(id === 'fail' ? { type: 'failed', error: 'wrong' } : { type: 'done' }, () => id === 'fail' && process.exit(0));
});
`;

let folder: string;
let processes: Processes;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-processes-'));
  await writeFile(join(folder, 'main.mjs'), SCRIPT);
  processes = new Processes(join(folder, 'main.mjs'));
});

afterAll(async () => {
  processes.close();
  await rm(folder, { recursive: true, force: true });
});

async function run(id: string): Promise<{ pid: string; last: ChildReport; started: number; ended: number }> {
  const seen = { pid: '', started: 0, ended: 0 };
  const last = await processes.run({ type: 'run', id } as RunOrder, {
    onStart: () => seen.started++,
    onEnd: () => seen.ended++,
    onReport: (report) => (seen.pid = report.type === 'note' ? report.text : ''),
  });
  return { ...seen, last };
}

describe('the processes of a worker', () => {
  it('make runs one after the other as long as these go well', async () => {
    const [first, second] = [await run('a'), await run('b')];
    expect(second).toEqual({ ...first, last: { type: 'done' }, started: 1, ended: 1 });
    const failed = await run('fail');
    expect([failed.pid, failed.last]).toEqual([first.pid, { type: 'failed', error: 'wrong' }]);
    const after = await run('c');
    expect(after.pid).not.toBe(first.pid);
    const crashed = await run('crash');
    expect([crashed.pid, crashed.last]).toEqual([after.pid, { type: 'killed', by: 'SIGKILL' }]);
    expect((await run('d')).last).toEqual({ type: 'done' });
  });

  it('are as many as there are runs at a time', async () => {
    const pids = (await Promise.all(['a', 'b', 'c'].map(run))).map(({ pid }) => pid);
    expect(new Set(pids).size).toBe(3);
  });
});
