import type { RunConfig } from '../../config/schema.js';
import { loadDataset } from '../../data/dataset.js';
import type { RowOptions } from '../../data/parts.js';
import { evaluateLoss } from '../../eval/loss.js';
import { effectiveMaxLength } from '../../finetune/options.js';
import { takeBosNote } from '../../tokenizer/doubled-bos.js';
import { openDataFiles } from '../../workspace/data-files.js';
import { formatNumber, perplexityText } from '../../format.js';
import { configDefault, tell } from '../options.js';
import { openRunOfFlags, type RunFlags } from '../run-session.js';
import { describeDataset, describeDropped } from '../view/describe.js';
import { print } from '../view/terminal.js';

/** What commander gives the action. Of the options of rows those of the run hold where none is given. */
export interface EvalFlags extends RunFlags {
  readonly data: readonly string[];
  readonly format?: RunConfig['data']['format'];
  readonly template?: string;
  readonly promptField?: string;
  readonly completionField?: string;
  readonly completionTemplate?: string;
  readonly textField?: string;
  readonly maxLength?: number;
  readonly trainOn?: RunConfig['data']['train_on'];
  readonly batchSize: number;
  readonly json?: true;
}

/** Prints the mean loss over the rows. */
export async function runEval(flags: EvalFlags): Promise<void> {
  const files = await openDataFiles({ '--data': flags.data }, { onMessage: tell });
  try {
    const { session, rows: trained, config } = await openRunOfFlags(flags);
    try {
      const { decoder, tokenizer, device, adapters } = session;
      const maxLength = flags.maxLength ?? config?.data.max_length ?? configDefault<number>('data.max_length');
      const options = {
        ...rowOptions(flags, trained),
        max_length: effectiveMaxLength(maxLength, decoder.maxLength, tell),
        seed: config?.training.seed,
      };
      const data = await loadDataset({
        source: files.sources['--data'],
        tokenizer,
        options,
        vocabSize: decoder.vocabSize,
      });
      tell(
        [describeDataset('data', data), ...describeDropped(data.dropped), takeBosNote(tokenizer)]
          .filter((line) => line !== undefined)
          .join('\n'),
      );
      // One adapter, or the base, is what is asked for; of several each, beside the base.
      const names = adapters.names.length > 1 ? [undefined, ...adapters.names] : [adapters.active];
      for (const name of names) {
        adapters.use(name);
        const { loss, perplexity, tokens, rows } = await device.guard(
          evaluateLoss(decoder, data.examples, flags.batchSize),
        );
        const which = names.length > 1 ? (name ?? 'base') : undefined;
        const text = `${which === undefined ? '' : `${which}: `}loss ${formatNumber(loss)}${perplexityText(perplexity)}  (${rows} rows, ${tokens} supervised tokens)`;
        print(
          `${flags.json === true ? JSON.stringify({ ...(which === undefined ? {} : { adapter: which }), loss, perplexity, tokens, rows }) : text}\n`,
        );
      }
    } finally {
      await session.dispose();
    }
  } finally {
    await files.close();
  }
}

/**
 * Options of the command line over those of the training. One that says where the prompt comes from replaces what the
 * training has for the prompt, one of the completion likewise; another format replaces all of both. The chat template
 * is the tokenizer's by now.
 */
export function rowOptions(
  flags: Omit<EvalFlags, 'data' | 'device' | 'batchSize'>,
  { chat_template: _template, ...trained }: RowOptions,
): RowOptions {
  const prompt = { template: flags.template, prompt_field: flags.promptField, text_field: flags.textField };
  const completion = { completion_field: flags.completionField, completion_template: flags.completionTemplate };
  const given = (values: object): boolean => Object.values(values).some((value) => value !== undefined);
  const reformatted = flags.format !== undefined && flags.format !== trained.format;
  const {
    template,
    prompt_field: promptField,
    text_field: textField,
    completion_field: completionField,
    completion_template: completionTemplate,
    ...rest
  } = trained;
  return {
    ...rest,
    format: flags.format ?? trained.format ?? 'auto',
    train_on: flags.trainOn ?? trained.train_on ?? configDefault<'completion' | 'all'>('data.train_on'),
    ...(given(prompt) || reformatted ? prompt : { template, prompt_field: promptField, text_field: textField }),
    ...(given(completion) || reformatted || flags.textField !== undefined
      ? completion
      : { completion_field: completionField, completion_template: completionTemplate }),
  };
}
