import type { RunConfig } from '../../config/schema.js';
import { finetune, type FinetuneResult } from '../../finetune.js';
import { localDirectory, nodeHost, openDirectory } from '../../node.js';
import { RECORD_FILE } from '../../record/record.js';
import { openRunData } from '../../workspace/data-files.js';
import { eventsOf } from '../../workspace/event-log.js';
import { formatCount, formatDuration, formatNumber } from '../format.js';
import { InterruptedError, watchInterrupts } from '../interrupt.js';
import { describeDevice, tell } from '../options.js';
import { planOutput, type OutputFolder } from '../../workspace/output.js';
import { createProgress } from '../progress.js';
import { wantsDebug } from '../run.js';
import { describeCounts, describeData, describeMemory, describeModel } from '../summary.js';
import { printExact } from '../terminal.js';

export { isDirectory } from '../../node.js';

export interface TrainingRequest {
  /** Goes on from a checkpoint although something else has changed. */
  readonly force?: boolean;
  /** The command that goes on with the run, for people. */
  readonly again?: string;
}

/**
 * Trains and writes the results to `training.output_dir`. Nothing is written before settings, model, data and adapter are checked.
 * An error that ends the training names the last checkpoint.
 * @throws InterruptedError after a signal, when a checkpoint of the steps so far is written.
 */
export async function runTraining(asked: RunConfig, { force = false, again }: TrainingRequest = {}): Promise<FinetuneResult> {
  const { output_dir: outputDir, overwrite_output_dir: overwrite, resume_from_checkpoint: resume, save_total_limit: limit } = asked.training;
  const output = await planOutput(outputDir, { overwrite, resume, events: eventsOf(asked), note: tell });
  // How a run was begun is no setting of it.
  const config: RunConfig = { ...asked, training: { ...asked.training, resume_from_checkpoint: false } };
  const model = await openDirectory(config.model, { revision: config.model_revision, onMessage: tell });
  const { init_from: initFrom } = config.adapter;
  const initial = initFrom === undefined ? undefined : await openDirectory(initFrom);
  const files = await openRunData(config, { onMessage: tell });
  const progress = createProgress({ every: config.training.logging_steps });
  const interrupts = watchInterrupts(() => {
    progress.log('stopping after this micro-batch; once more to stop at once');
  });
  let checkpoint = output.resume;
  let saving: Promise<string> | undefined;
  let begun = false;
  const remains = (): string => (checkpoint === undefined ? 'nothing was written' : `${checkpoint} is whole${again === undefined ? '' : `; go on with: ${again}`}`);
  try {
    const result = await finetune({
      config,
      model,
      data: files.data,
      initFrom: initial,
      resume: output.resume === undefined ? undefined : localDirectory(output.resume),
      force,
      host: nodeHost,
      callbacks: {
        onDevice: (device) => {
          tell(describeDevice(device));
        },
        onNote: tell,
        ...(wantsDebug(process.argv) ? { onDebug: tell } : {}),
        onModel: (parsed) => {
          tell(`model: ${config.model}: ${describeModel(parsed)}`);
        },
        onMemory: (memory) => {
          tell(describeMemory(memory));
        },
        onData: (data) => {
          tell(describeData(data));
        },
        onReady: async ({ counts, totalSteps, doneSteps }) => {
          tell(describeCounts(counts));
          await output.begin(doneSteps);
          begun = true;
          if (checkpoint !== undefined) tell(`going on from ${checkpoint}`);
          progress.start(totalSteps, doneSteps);
        },
        onStep: ({ step, loss, learning_rate: learningRate, tokens_per_second: tokensPerSecond }) => {
          progress.step({ step, loss, learningRate, tokensPerSecond });
        },
        onLog: (metrics) => output.append(metrics),
        onEvaluate: async (metrics) => {
          progress.log(`step ${metrics.step}  validation loss ${formatNumber(metrics.eval_loss)}  perplexity ${formatNumber(metrics.perplexity)}`);
          await output.append(metrics);
        },
        onTest: async ({ loss, perplexity, tokens, rows }) => {
          progress.log(`test loss ${formatNumber(loss)}  perplexity ${formatNumber(perplexity)}  (${rows} rows, ${tokens} tokens)`);
          await output.append({ test_loss: loss, test_perplexity: perplexity, test_tokens: tokens, test_rows: rows });
        },
        onCheckpoint: async (saved, info) => {
          saving = output.save(saved, info, limit);
          checkpoint = await saving;
          progress.log(`step ${info.step}  checkpoint ${checkpoint}`);
        },
        shouldStop: () => interrupts.signal !== undefined,
      },
    });
    progress.stop();
    const { signal } = interrupts;
    // All is done where the signal came while the last files were made.
    if (signal !== undefined && result.files[RECORD_FILE] === undefined) {
      const { steps, totalSteps } = result.training;
      throw new InterruptedError(signal, `stopped at step ${steps} of ${totalSteps}; ${remains()}`);
    }
    await save(result, output);
    return result;
  } catch (error) {
    // A device that is lost does not wait for what is being written.
    checkpoint = (await saving?.catch(() => undefined)) ?? checkpoint;
    if (error instanceof Error && !(error instanceof InterruptedError) && begun && checkpoint !== undefined) error.message += `\n${remains()}`;
    throw error;
  } finally {
    progress.stop();
    interrupts.stop();
    output.close();
    await files.close();
  }
}

async function save({ training, files }: FinetuneResult, output: OutputFolder): Promise<void> {
  await output.finish(files);
  const { steps, seconds, tokens, trainLoss, best, stoppedEarly, warning } = training;
  const parts = [
    `${steps} steps in ${formatDuration(seconds)}`,
    `${formatCount(tokens / Math.max(seconds, 1e-6))} tokens/s`,
    `mean loss ${formatNumber(trainLoss)}`,
  ];
  if (best !== undefined) parts.push(`best validation loss ${formatNumber(best.eval_loss)} at step ${best.step}`);
  if (stoppedEarly) parts.push('stopped early');
  tell(parts.join(', '));
  if (warning !== undefined) tell(`warning: ${warning}`);
  printExact(`${output.path}\n`);
}
