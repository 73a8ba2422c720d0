import { completeConfig } from '../config/load.js';
import type { RunConfig, RunConfigInput } from '../config/schema.js';
import type { Host } from '../device/device.js';
import { nodeHost } from '../device/node.js';
import { finetune } from '../finetune/finetune.js';
import type { FinetuneCallbacks, FinetuneResult } from '../finetune/request.js';
import { localDirectory } from '../io/node.js';
import { openDirectory } from '../io/open-directory.js';
import type { CheckpointInfo } from '../resume/checkpoint.js';
import type { Objective } from '../train/objectives/objective.js';
import { withTemplates } from './chat-template-files.js';
import { openRunData } from './data-files.js';
import { withLocalModel } from './local-model.js';
import { eventsOf } from './event-log.js';
import { planOutput } from './output.js';

/**
 * What happens while a run is written to a folder, besides what `finetune` tells. Checkpoints are written, not handed
 * out.
 */
export interface FolderCallbacks extends Omit<FinetuneCallbacks, 'onCheckpoint'> {
  /** The output folder may be written to; `resume` is the checkpoint that the run goes on from. */
  readonly onOutput?: (output: { readonly folder: string; readonly resume: string | undefined }) => void;
  /** A checkpoint was written, to this path. */
  readonly onCheckpoint?: (path: string, info: CheckpointInfo) => void;
}

/** How {@link trainToFolder} runs, beside its config. */
export interface FolderTrainingOptions {
  /** Goes on from a checkpoint although something else has changed. */
  readonly force?: boolean | undefined;
  readonly callbacks?: FolderCallbacks | undefined;
  /** Aborting it ends the run after the current micro-batch, with a checkpoint. */
  readonly signal?: AbortSignal | undefined;
  /** What is minimised, in place of the objective that `training.objective` names. */
  readonly objective?: Objective | undefined;
  /** Default: this Node. */
  readonly host?: Host | undefined;
}

/** As `finetune` returns it, and where it was written. */
export interface FolderTrainingResult extends FinetuneResult {
  /** The output folder, absolute. */
  readonly folder: string;
}

/**
 * A run from its config to the files in `training.output_dir`, as `lowrank train` makes it: opens model and data by
 * their paths, writes the log, checkpoints and, at the end, the adapter with its tokenizer, config, record and model
 * card, each completely or not at all. Relative paths start from the current folder. Everything that it opens is
 * closed. A run that was stopped has its checkpoints only.
 * @throws as finetune; ConfigError when a file is missing, or the folder holds a run that is neither resumed nor
 * overwritten.
 */
export async function trainToFolder(
  given: RunConfig | RunConfigInput,
  { force = false, callbacks = {}, signal, objective, host = nodeHost }: FolderTrainingOptions = {},
): Promise<FolderTrainingResult> {
  const asked = await withLocalModel(await withTemplates(completeConfig(given, process.cwd())));
  const { onOutput, onCheckpoint, ...told } = callbacks;
  const note = (text: string): void => callbacks.onNote?.(text);
  const {
    output_dir: outputDir,
    overwrite_output_dir: overwrite,
    resume_from_checkpoint: resume,
    save_total_limit: limit,
  } = asked.training;
  const output = await planOutput(outputDir, { overwrite, resume, events: eventsOf(asked), note });
  onOutput?.({ folder: output.path, resume: output.resume });
  // How a run was begun is no setting of it.
  const config: RunConfig = { ...asked, training: { ...asked.training, resume_from_checkpoint: false } };
  const model = await openDirectory(config.model, { revision: config.model_revision, onMessage: note });
  const { init_from: initFrom } = config.adapter;
  const initial = initFrom === undefined ? undefined : await openDirectory(initFrom, { onMessage: note });
  const files = await openRunData(config, { onMessage: note });
  let saving: Promise<void> | undefined;
  try {
    const result = await finetune({
      ...{ config, model, data: files.data, initFrom: initial, force, host, signal, objective },
      resume: output.resume === undefined ? undefined : localDirectory(output.resume),
      callbacks: {
        ...told,
        onDisk: async (needs) => {
          await output.requireSpace(needs);
          await callbacks.onDisk?.(needs);
        },
        onReady: async (plan) => {
          await output.begin(plan.doneSteps);
          await callbacks.onReady?.(plan);
        },
        onLog: async (metrics) => {
          await output.append(metrics);
          await callbacks.onLog?.(metrics);
        },
        onEvaluate: async (metrics) => {
          await output.append(metrics);
          await callbacks.onEvaluate?.(metrics);
        },
        onTest: async (result) => {
          const { loss, perplexity, metrics, tokens, rows } = result;
          await output.append({
            test_loss: loss,
            test_perplexity: perplexity,
            test_tokens: tokens,
            test_rows: rows,
            metrics,
          });
          await callbacks.onTest?.(result);
        },
        onCheckpoint: async (saved, info) => {
          saving = output.save(saved, info, limit).then((path) => onCheckpoint?.(path, info));
          await saving;
        },
      },
    });
    if (!result.stopped) await output.finish(result.files);
    return { ...result, folder: output.path };
  } catch (error) {
    // A device that is lost does not wait for what is being written.
    await saving?.catch(() => undefined);
    throw error;
  } finally {
    output.close();
    await files.close();
  }
}
