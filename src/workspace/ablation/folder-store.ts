import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseBaseline, parseResult, RESULT_FILE, TIMINGS_FILE, type RunTimings } from '../../ablation/result.js';
import { RUNS_FOLDER, type AblationRun } from '../../ablation/runs.js';
import type { AblationStore } from '../../ablation/store.js';
import { jointDiskBytes } from '../../finetune/disk-needs.js';
import { relativePath } from '../../io/directory.js';
import { parseJson } from '../../io/json.js';
import { isFile, localDirectory, writeFileAtomic } from '../../io/node.js';
import { listCheckpoints, removeLater } from '../checkpoints.js';
import { eventsOf } from '../event-log.js';
import { METRICS_FILE, planOutput } from '../output.js';
import { bytesBelow, requireSpace } from '../writable.js';

/** Beside the folder of a run that failed: what went wrong. */
const failureFile = (id: string): string => `${id}.failed.json`;

/**
 * The output folder of an ablation: tables at its top, `runs/<id>` for each run, `baselines/<key>.json` for each base
 * model.
 */
export function folderStore(
  folder: string,
  note: (text: string) => void,
  option: 'output_dir' | '--output' = 'output_dir',
): AblationStore {
  const place = (run: AblationRun): string => join(folder, RUNS_FOLDER, run.id);
  const failure = (run: AblationRun): string => join(folder, RUNS_FOLDER, failureFile(run.id));
  return {
    async state(run) {
      const result = join(place(run), RESULT_FILE);
      if (await isFile(result)) {
        const timings = (await readJsonFile(join(place(run), TIMINGS_FILE))) as RunTimings | undefined;
        return { finished: { result: parseResult(await readFile(result, 'utf8'), result), timings } };
      }
      const failed = (await readJsonFile(failure(run))) as { error?: unknown } | undefined;
      return failed === undefined ? {} : { failed: String(failed.error) };
    },
    async open(run) {
      const path = place(run);
      // The folder is the ablation's own: what an unfinished run left there may go.
      const resume = (await listCheckpoints(path)).length > 0;
      const output = await planOutput(path, { overwrite: true, resume, events: eventsOf(run.config), note });
      return {
        resume: output.resume === undefined ? undefined : localDirectory(output.resume),
        requireSpace: (needs) => output.requireSpace(needs),
        begin: (step) => output.begin(step),
        append: (metrics) => output.append(metrics),
        async log() {
          const text = await readFile(join(path, METRICS_FILE), 'utf8');
          return text.split('\n').flatMap((line) => (line === '' ? [] : [parseJson(line, METRICS_FILE)]));
        },
        async save(files, info) {
          await output.save(files, info, run.config.training.save_total_limit);
        },
        async finish(files, result, timings) {
          await output.finish(files);
          await writeJsonFile(join(path, TIMINGS_FILE), timings);
          await writeJsonFile(join(path, RESULT_FILE), result);
          await rm(failure(run), { force: true });
          // Nothing goes on from a finished run.
          await removeLater(path, 0);
          output.close();
        },
        async fail(error) {
          try {
            await writeJsonFile(failure(run), { error });
          } finally {
            output.close();
          }
        },
      };
    },
    adapter: (run) => localDirectory(place(run)),
    async baseline(key) {
      const path = baselineFile(folder, key);
      return (await isFile(path)) ? parseBaseline(await readFile(path, 'utf8'), path) : undefined;
    },
    saveBaseline: (key, baseline) => writeJsonFile(baselineFile(folder, key), baseline),
    async requireSpace(runs, needs, atOnce) {
      // What unfinished runs have left there is counted in what they need.
      const present = (await Promise.all(runs.map((run) => bytesBelow(place(run))))).reduce((a, b) => a + b, 0);
      const checkpoints = Math.max(0, ...needs.map((each) => each.checkpoints));
      const what = [
        `the results of ${runs.length} run${runs.length === 1 ? '' : 's'}`,
        ...(checkpoints === 0
          ? []
          : [
              `up to ${checkpoints} checkpoint${checkpoints === 1 ? '' : 's'}${atOnce === 1 ? '' : ` of each of ${atOnce} at a time`} (training.save_total_limit keeps fewer)`,
            ]),
      ].join(' and ');
      await requireSpace({ path: folder, option, given: folder }, jointDiskBytes(needs, atOnce), what, present);
    },
    async write(files) {
      for (const [name, content] of Object.entries(files)) await writeFileAtomic(join(folder, name), content);
    },
  };
}

function baselineFile(folder: string, key: string): string {
  return join(folder, 'baselines', `${relativePath(key, 'baselines')}.json`);
}

function writeJsonFile(path: string, value: unknown): Promise<void> {
  return writeFileAtomic(path, `${JSON.stringify(value, null, 1)}\n`);
}

/** Undefined where there is none. */
async function readJsonFile(path: string): Promise<unknown> {
  return (await isFile(path)) ? parseJson(await readFile(path, 'utf8'), path) : undefined;
}
