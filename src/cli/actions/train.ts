import type { RunConfig } from '../../config/schema.js';
import { trainToFolder, type FolderTrainingResult } from '../../workspace/train-to-folder.js';
import { formatCount, formatDuration, formatNumber, perplexityText } from '../../format.js';
import { InterruptedError, watchInterrupts } from '../../workspace/interrupt.js';
import { describeDevice, tell } from '../options.js';
import { createProgress } from '../view/progress.js';
import { wantsDebug } from '../run.js';
import { describeCounts, describeData, describeMemory, describeModel } from '../view/describe.js';
import { printExact } from '../view/terminal.js';

export interface TrainingRequest {
  /** Goes on from a checkpoint although something else has changed. */
  readonly force?: boolean;
  /** The command that goes on with the run, for people. */
  readonly again?: string;
}

/**
 * Trains and writes the results to `training.output_dir`. Nothing is written before settings, model, data and adapter
 * are checked. An error that ends the training names the last checkpoint.
 * @throws InterruptedError after a signal, when a checkpoint of the steps so far is written.
 */
export async function runTraining(
  config: RunConfig,
  { force = false, again }: TrainingRequest = {},
): Promise<FolderTrainingResult> {
  const progress = createProgress({ every: config.training.logging_steps });
  const stop = new AbortController();
  let interrupts: ReturnType<typeof watchInterrupts> | undefined;
  let checkpoint: string | undefined;
  let begun = false;
  const remains = (): string =>
    checkpoint === undefined
      ? 'nothing was written'
      : `${checkpoint} is whole${again === undefined ? '' : `; go on with: ${again}`}`;
  try {
    const result = await trainToFolder(config, {
      force,
      signal: stop.signal,
      callbacks: {
        onOutput: ({ resume }) => {
          checkpoint = resume;
        },
        onDevice: (device) => {
          // Before there is nothing to end in order.
          interrupts = watchInterrupts(() => {
            progress.log('stopping after this micro-batch; once more to stop at once');
            stop.abort();
          });
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
        onReady: ({ counts, totalSteps, doneSteps }) => {
          tell(describeCounts(counts));
          begun = true;
          if (checkpoint !== undefined) tell(`going on from ${checkpoint}`);
          progress.start(totalSteps, doneSteps);
        },
        onStep: ({ step, loss, learning_rate: learningRate, tokens_per_second: tokensPerSecond }) => {
          progress.step({ step, loss, learningRate, tokensPerSecond });
        },
        onEvaluate: (metrics) => {
          progress.log(
            `step ${metrics.step}  validation loss ${formatNumber(metrics.eval_loss)}${perplexityText(metrics.perplexity)}`,
          );
        },
        onTest: ({ loss, perplexity, tokens, rows }) => {
          progress.log(
            `test loss ${formatNumber(loss)}${perplexityText(perplexity)}  (${rows} rows, ${tokens} tokens)`,
          );
        },
        onCheckpoint: (path, { step }) => {
          checkpoint = path;
          progress.log(`step ${step}  checkpoint ${path}`);
        },
      },
    });
    progress.stop();
    // All is done where a signal came while the last files were made.
    const signal = interrupts?.signal;
    if (result.stopped && signal !== undefined) {
      const { steps, totalSteps } = result.training;
      throw new InterruptedError(signal, `stopped at step ${steps} of ${totalSteps}; ${remains()}`);
    }
    describeResult(result);
    return result;
  } catch (error) {
    if (error instanceof Error && !(error instanceof InterruptedError) && begun && checkpoint !== undefined)
      error.message += `\n${remains()}`;
    throw error;
  } finally {
    progress.stop();
    interrupts?.stop();
  }
}

function describeResult({ training, folder }: FolderTrainingResult): void {
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
  printExact(`${folder}\n`);
}
