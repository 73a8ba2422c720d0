import type { RunConfig } from '../../config/schema.js';
import { loadDataset } from '../../data/dataset.js';
import type { DataOptions } from '../../data/options.js';
import { evaluateLoss } from '../../eval/loss.js';
import { effectiveMaxLength } from '../../finetune.js';
import { openDataFiles } from '../../workspace/data-files.js';
import { formatNumber } from '../format.js';
import { openFlaggedSession, tell, type ModelFlags } from '../options.js';
import { describeDataset, describeDropped } from '../summary.js';
import { print } from '../terminal.js';

/** What commander gives the action. */
export interface EvalFlags extends ModelFlags {
  readonly data: readonly string[];
  readonly format: RunConfig['data']['format'];
  readonly template?: string;
  readonly promptField?: string;
  readonly completionField?: string;
  readonly completionTemplate?: string;
  readonly maxLength: number;
  readonly trainOn: RunConfig['data']['train_on'];
  readonly batchSize: number;
  readonly json?: true;
}

/** Prints the mean loss over the rows. */
export async function runEval(flags: EvalFlags): Promise<void> {
  const files = await openDataFiles({ '--data': flags.data }, { onMessage: tell });
  try {
    const session = await openFlaggedSession(flags);
    try {
      const { decoder, tokenizer, device, adapters } = session;
      const options = dataOptions(flags, effectiveMaxLength(flags.maxLength, decoder.maxLength, tell));
      const data = await loadDataset({ source: files.sources['--data'], tokenizer, options, vocabSize: decoder.vocabSize });
      tell([describeDataset('data', data), ...describeDropped(data.dropped)].join('\n'));
      // One adapter, or the base, is what is asked for; of several each, beside the base.
      const names = adapters.names.length > 1 ? [undefined, ...adapters.names] : [adapters.active];
      for (const name of names) {
        adapters.use(name);
        const { loss, perplexity, tokens, rows } = await device.guard(evaluateLoss(decoder, data.examples, flags.batchSize));
        const which = names.length > 1 ? (name ?? 'base') : undefined;
        const text = `${which === undefined ? '' : `${which}: `}loss ${formatNumber(loss)}  perplexity ${formatNumber(perplexity)}  (${rows} rows, ${tokens} supervised tokens)`;
        print(`${flags.json === true ? JSON.stringify({ ...(which === undefined ? {} : { adapter: which }), loss, perplexity, tokens, rows }) : text}\n`);
      }
    } finally {
      await session.dispose();
    }
  } finally {
    await files.close();
  }
}

function dataOptions(flags: EvalFlags, maxLength: number): DataOptions {
  return {
    format: flags.format,
    template: flags.template,
    prompt_field: flags.promptField,
    completion_field: flags.completionField,
    completion_template: flags.completionTemplate,
    max_length: maxLength,
    train_on: flags.trainOn,
  };
}
