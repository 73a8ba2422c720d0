import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseAblation, type AblationConfig } from '../../ablation/config.js';
import { ablationFiles } from '../../ablation/files.js';
import type { AblationCallbacks, AblationRequest, AblationState } from '../../ablation/request.js';
import { runAblation } from '../../ablation/runner.js';
import { planRuns, type AblationRun } from '../../ablation/runs.js';
import { summarise, type Summary } from '../../ablation/summary.js';
import type { Host } from '../../device/device.js';
import { nodeHost } from '../../device/node.js';
import { ConfigError } from '../../errors.js';
import { withTemplates } from '../chat-template-files.js';
import { withLocalModel } from '../local-model.js';
import { requireWritable } from '../writable.js';
import { openEvaluation } from './evaluation-files.js';
import { folderStore } from './folder-store.js';
import { openSources } from './sources.js';

/** An ablation file with the runs that it asks for. */
export interface AblationPlan {
  readonly ablation: AblationConfig;
  /** In the order of the tables. */
  readonly runs: readonly AblationRun[];
}

/** What {@link planAblation} changes in the file. */
export interface PlanAblationOptions {
  /** Folder of the runs and tables, in place of `output_dir` of the file. */
  readonly output?: string | undefined;
  /** `path=value` settings for all runs, as `--set` takes them. */
  readonly set?: readonly string[] | undefined;
}

/**
 * Reads an ablation file and lists its runs; trains nothing.
 * @param file path of the YAML file; paths in it start from its folder
 * @throws ConfigError
 */
export async function planAblation(
  file: string,
  { output, set = [] }: PlanAblationOptions = {},
): Promise<AblationPlan> {
  const parsed = parseAblation(await readText(file), file, dirname(resolve(file)));
  const ablation = output === undefined ? parsed : { ...parsed, outputDir: resolve(output) };
  const runs = await planRuns(ablation, { readText, set, folder: process.cwd() });
  return {
    ablation,
    runs: await Promise.all(
      runs.map(async (run) => ({ ...run, config: await withLocalModel(await withTemplates(run.config)) })),
    ),
  };
}

/** How {@link ablateToFolder} runs, and who hears of it. */
export interface FolderAblationOptions extends Pick<AblationRequest, 'elsewhere' | 'estimate' | 'jobs' | 'retry'> {
  readonly callbacks?: AblationCallbacks | undefined;
  /** Aborting it ends the current run after its micro-batch, with a checkpoint; the same call continues later. */
  readonly signal?: AbortSignal | undefined;
  /** False: leaves the tables to another process, as one of several that share the runs does. Default true. */
  readonly tables?: boolean | undefined;
  /** The option that the output folder came from, for error messages. */
  readonly outputOption?: 'output_dir' | '--output' | undefined;
  /** Messages about downloads and locks. */
  readonly onMessage?: ((text: string) => void) | undefined;
  /** Makes the runs in place of `runAblation`: the workers of a queue. */
  readonly make?: ((request: AblationRequest) => Promise<AblationState>) | undefined;
  /** Default: this Node. */
  readonly host?: Host | undefined;
}

/** The state of an ablation after {@link ablateToFolder}, with its table. */
export interface FolderAblationResult extends AblationState {
  /** The output folder, absolute. */
  readonly folder: string;
  readonly summary: Summary;
}

/**
 * Makes the runs of an ablation that are not finished yet, and writes ablation.json, table.md and table.csv into its
 * folder after each of them, with subspace.json at the end. Failed runs are listed in the result; aborted ones are pending.
 * @throws ConfigError, DataError, FormatError for what no run could do without; DeviceError
 */
export async function ablateToFolder(
  { ablation, runs }: AblationPlan,
  options: FolderAblationOptions = {},
): Promise<FolderAblationResult> {
  const { callbacks = {}, signal, tables = true, outputOption = 'output_dir', host = nodeHost } = options;
  const { outputDir } = ablation;
  const [first] = runs;
  if (first === undefined) throw new ConfigError(`${outputDir}: an ablation without runs`);
  const onMessage = (text: string): void => options.onMessage?.(text);
  await requireWritable({ path: outputDir, option: outputOption, given: outputDir });
  const store = folderStore(outputDir, onMessage, outputOption);
  const sources = openSources(onMessage);
  const measured = await openEvaluation(ablation, first.config.training.per_device_eval_batch_size, { onMessage });
  const writeTables = async (state: AblationState, subspace: boolean): Promise<void> => {
    if (tables) await store.write(await ablationFiles({ ablation, runs, state, store, subspace }));
  };
  try {
    const state = await (options.make ?? runAblation)({
      runs,
      store,
      host,
      open: (run) => sources.of(run),
      evaluation: measured.evaluation,
      retry: options.retry ?? false,
      estimate: options.estimate ?? true,
      jobs: options.jobs,
      ...(options.elsewhere === undefined ? {} : { elsewhere: options.elsewhere }),
      callbacks: {
        ...callbacks,
        onFinished: async (run, finished, soFar) => {
          await callbacks.onFinished?.(run, finished, soFar);
          await writeTables(soFar, false);
        },
        shouldStop: () => signal?.aborted === true || callbacks.shouldStop?.() === true,
      },
    });
    await writeTables(state, true);
    return { ...state, folder: outputDir, summary: summarise(state.finished, state.baselines) };
  } finally {
    await sources.close();
    await measured.close();
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`cannot read ${path}: ${(error as Error).message.replace(/, .*$/, '')}`, { cause: error });
  }
}
