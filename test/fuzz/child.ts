import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LowrankError } from '../../src/errors.js';
import { Random } from '../../src/random.js';
import { mutate, type Files } from './mutate.js';
import { TARGETS } from './parsers.js';

/** What the parent asks for: a case of a seed, and where its files are to be kept. */
export interface CaseRequest {
  readonly seed: number;
  readonly index: number;
  readonly keep?: string;
}

export interface CaseReport {
  readonly target: string;
  /** Undefined for a result or an error of this project's own. */
  readonly problem?: string;
  readonly maxRssMiB: number;
}

const scratch = await mkdtemp(join(tmpdir(), 'lowrank-fuzz-'));
process.on('disconnect', () => void rm(scratch, { recursive: true, force: true }).finally(() => process.exit()));
const seeds = await Promise.all(TARGETS.map(async (target) => target.seeds()));

/** The case's reader and files: the readers take turns. */
function makeCase({ seed, index }: CaseRequest): { target: (typeof TARGETS)[number]; files: Files } {
  const at = index % TARGETS.length;
  const random = new Random(seed, `fuzz ${index}`);
  const own = seeds[at] as Files[];
  return {
    target: TARGETS[at] as (typeof TARGETS)[number],
    files: mutate(own[random.below(own.length)] as Files, random),
  };
}

async function keep(files: Files, folder: string): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
}

async function run(request: CaseRequest): Promise<CaseReport> {
  const { target, files } = makeCase(request);
  if (request.keep !== undefined) await keep(files, request.keep);
  let problem: string | undefined;
  try {
    await target.read(files, () => Promise.resolve(scratch));
  } catch (error) {
    // The parent sees the case, a person what happened in it.
    if (!(error instanceof LowrankError))
      problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return {
    target: target.name,
    ...(problem === undefined ? {} : { problem }),
    maxRssMiB: process.resourceUsage().maxRSS / 1024,
  };
}

process.on('message', (request: CaseRequest) => void run(request).then((report) => process.send?.(report)));
process.send?.({ target: '', maxRssMiB: process.resourceUsage().maxRSS / 1024 } satisfies CaseReport);
