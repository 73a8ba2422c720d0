import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { lowrank, lowrankWatched, type Outcome } from './cli.js';
import { argumentsOf, type Level } from './train-options.js';

/** Files of a finished run that follow from its options alone; the others hold times. */
const EXACT =
  /^(?:adapter_model\.safetensors|adapter_config\.json|model\.safetensors|config\.json|tokenizer\.json|training_record\.json|README\.md)$/;

/**
 * Trains with these levels, then once more with a stop and `--resume`: the files must be the same, and other commands
 * must take them.
 * @param stopAfter lines of progress, the first of which tells of step 1
 */
export async function checkTrainRow(
  folder: string,
  name: string,
  levels: readonly Level[],
  stopAfter: number,
): Promise<void> {
  const out = join(folder, name);
  const args = argumentsOf(folder, name, levels);
  const whole = await lowrank('train', ...args);
  expect(whole.status, whole.stderr).toBe(0);
  const files = await resultOf(out);
  await checkUse(folder, out, levels, Object.keys(files));
  await rm(out, { recursive: true });

  const stopped = await stoppedWhen(afterLines(stopAfter), args);
  if (stopped.status !== 0) {
    expect(stopped.status, stopped.stderr).toBe(143);
    const rest = await lowrank('train', ...args, '--resume');
    expect(rest.status, `${stopped.stderr}${rest.stderr}`).toBe(0);
    expect(rest.stderr, stopped.stderr).toContain('going on from ');
  }
  const resumed = await resultOf(out);
  expect(Object.keys(resumed)).toEqual(Object.keys(files));
  for (const [file, content] of Object.entries(files))
    expect(Buffer.compare(resumed[file] as Buffer, content), file).toBe(0);
  expect((await readdir(out)).filter((left) => left.startsWith('.'))).toEqual([]);
  await rm(out, { recursive: true });
}

async function resultOf(out: string): Promise<Record<string, Buffer>> {
  const names = (await readdir(out)).filter((name) => EXACT.test(name)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(out, name))] as const)),
  );
}

/** What other commands make of the files. */
async function checkUse(
  folder: string,
  out: string,
  levels: readonly Level[],
  files: readonly string[],
): Promise<void> {
  const model = join(folder, new Map(levels).get('model') ?? 'llama');
  const uses = files.includes('model.safetensors')
    ? [
        ['inspect', out],
        ['generate', '--model', out],
      ]
    : [
        ['inspect', out, '--model', model],
        ['verify', out, '--model', model, '--device', 'wasm'],
        ['generate', '--model', model, '--adapter', out],
      ];
  for (const [verb, ...rest] of uses as [string, ...string[]][]) {
    const asked = verb === 'generate' ? ['--prompt', 'red', '--max-new-tokens', '3', '--device', 'wasm'] : [];
    const { status, stderr } = await lowrank(verb, ...rest, ...asked);
    expect(status, `${verb}: ${stderr}`).toBe(0);
  }
}

/** True at the line that comes so many after that of the first step. */
function afterLines(lines: number): (text: string) => boolean {
  let begun = false;
  let left = lines;
  return (text) => {
    begun ||= text.startsWith('step 1/');
    return begun && left-- === 0;
  };
}

/** The run gets a signal at a line of its progress; status 0 where that does not come. */
export function stoppedWhen(reached: (text: string) => boolean, args: readonly string[]): Promise<Outcome> {
  return lowrankWatched(
    (text) => {
      if (reached(text)) process.listeners('SIGTERM').at(-1)?.('SIGTERM');
    },
    'train',
    ...args,
  );
}
