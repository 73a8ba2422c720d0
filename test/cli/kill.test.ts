import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { newestCheckpoint } from '../../src/workspace/checkpoints.js';
import { checkpointStep } from '../../src/resume/checkpoint.js';
import { Random } from '../../src/random.js';
import { bundleLowrank, outcomeOf, type Outcome } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

const KILLS = 50;

/** A checkpoint after every step, and old ones removed: a good part of a run's time is spent on them. */
const CONFIG = `
model: ./model
device: wasm
adapter: { r: 4, lora_dropout: 0.1 }
data: { train: train.jsonl, validation: validation.jsonl }
training:
  { output_dir: out, max_steps: 120, per_device_train_batch_size: 2, gradient_accumulation_steps: 2, learning_rate: 0.01,
    logging_steps: 1, eval_steps: 4, save_strategy: steps, save_steps: 1, save_total_limit: 2 }
`;

let folder: string;
let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-kill-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(30, 1)));
  await writeFile(join(folder, 'validation.jsonl'), toJsonl(countingRows(4, 2)));
  await writeFile(join(folder, 'run.yaml'), CONFIG);
  bundle = await bundleLowrank();
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await bundle.remove();
});

/**
 * Starts or goes on with the run. `arm` gets the way to kill it, and is called once it is told something by the
 * process.
 */
function start(out: string, arm?: (kill: () => void) => (stderr: string) => void): Promise<Outcome> {
  const args = [bundle.main, 'train', join(folder, 'run.yaml'), '--resume', '--set', `training.output_dir=${out}`];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LOWRANK_THREADS: '1' },
  });
  const told = arm?.(() => child.kill('SIGKILL'));
  return outcomeOf(child, (stderr) => told?.(stderr));
}

/** The last checkpoint that a process said it had written. */
function lastTold(stderr: string): number {
  return Number([...stderr.matchAll(/^step (\d+) {2}checkpoint /gm)].at(-1)?.[1] ?? 0);
}

async function results(out: string): Promise<{ adapter: string; settings: string; log: Record<string, unknown>[] }> {
  const log = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  return {
    adapter: await readFile(join(out, 'adapter_model.safetensors'), 'hex'),
    settings: await readFile(join(out, 'adapter_config.json'), 'utf8'),
    log: log.map((line) => {
      const { tokens_per_second: _, ...metrics } = JSON.parse(line) as Record<string, unknown>;
      return metrics;
    }),
  };
}

it(`survives ${KILLS} kills at random moments: no step before the last checkpoint is lost, and the end is the same to the byte`, async () => {
  const random = new Random(1, 'kills');
  const undisturbed = join(folder, 'undisturbed');
  const began = performance.now();
  let startTime = Infinity;
  const whole = await start(undisturbed, () => (stderr) => {
    if (startTime === Infinity && stderr.includes('step 1/')) startTime = performance.now() - began;
  });
  expect(whole.status, whole.stderr).toBe(0);

  const out = join(folder, 'killed');
  await mkdir(out);
  let [kept, kills] = [0, 0];
  const midWrite: string[] = [];
  while (kills < KILLS) {
    const byTime = random.uniform() < 0.25;
    const delay = byTime ? random.uniform() * startTime : random.uniform() * 4;
    let eventsLeft = random.below(12);
    const { status, stderr } = await start(out, (kill) => {
      if (byTime) {
        // Before the first step, at the latest: a machine may be faster now than it was.
        setTimeout(kill, delay);
        return (text) => void (text.includes('step ') && kill());
      } else {
        // Every file that comes, goes or grows in the folder: staged checkpoints, their names, removed ones, the log.
        const watcher = watch(out, () => {
          if (eventsLeft-- !== 0) return;
          watcher.close();
          setTimeout(kill, delay);
        });
      }
      return () => undefined;
    });
    if (status !== null) {
      // Faster than its killer: all is as it should be, and the next one begins anew.
      expect(status, stderr).toBe(0);
      expect(await results(out)).toEqual(await results(undisturbed));
      await rm(out, { recursive: true });
      await mkdir(out);
      kept = 0;
      continue;
    }
    kills++;

    const going = /^going on from .*checkpoint-(\d+)$/m.exec(stderr)?.[1];
    if (going !== undefined) expect(Number(going)).toBe(kept);
    const passedOver: string[] = [];
    const newest = await newestCheckpoint(out, (text) => passedOver.push(text));
    expect(passedOver).toEqual([]);
    const now = newest === undefined ? 0 : (checkpointStep(newest.slice(out.length + 1)) ?? 0);
    expect(now).toBeGreaterThanOrEqual(Math.max(kept, lastTold(stderr)));
    kept = now;
    midWrite.push(...(await readdir(out)).filter((name) => name.startsWith('.')));
  }
  // The moments were such that some came into the middle of writing.
  expect(midWrite.length).toBeGreaterThan(0);
  const rest = await start(out);
  expect(rest.status, rest.stderr).toBe(0);
  if (kept > 0) expect(rest.stderr).toContain(`going on from ${join(out, `checkpoint-${kept}`)}\n`);
  expect(await results(out)).toEqual(await results(undisturbed));
  expect((await readdir(out)).sort()).toEqual((await readdir(undisturbed)).sort());
  console.log(`killed ${KILLS} times, at step ${kept} in the end; ${midWrite.length} left something half-written`);
}, 600_000);
