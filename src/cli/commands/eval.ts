import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { DATA_FORMATS } from '../../data/options.js';
import { ConfigError } from '../../errors.js';
import type { EvalTasksFlags } from '../actions/eval-tasks.js';
import type { EvalFlags } from '../actions/eval.js';
import { configDefault, numberOption } from '../options.js';
import { takesRun } from '../run-session.js';

export function registerEval(program: Command): void {
  const atLeast = (name: string, min: number): ((value: string) => number) =>
    numberOption(name, { min, integer: true });
  takesRun(
    program
      .command('eval')
      .description(
        'a model and its adapters side by side: mean loss on the rows of a file, or the tasks of a task file with their metrics',
      ),
  )
    .option('--data <file...>', 'data files or patterns of them whose loss is taken')
    .addOption(
      new Option('--format <name>', 'what a row holds (default: as in the training of the run, else auto)').choices(
        DATA_FORMATS,
      ),
    )
    .option('--template <jinja>', 'template of the prompt, or `alpaca`')
    .option('--prompt-field <name>', 'field of a row that holds the prompt')
    .option('--completion-field <name>', 'field of a row that holds the completion')
    .option('--completion-template <jinja>', 'template of the completion')
    .option('--text-field <name>', 'field of a row that holds a whole text')
    .option(
      '--max-length <tokens>',
      `longer rows are cut (default: as in the training of the run, else ${configDefault<number>('data.max_length')})`,
      atLeast('max-length', 2),
    )
    .addOption(
      new Option(
        '--train-on <part>',
        `tokens that the loss counts (default: as in the training of the run, else ${configDefault<string>('data.train_on')})`,
      ).choices(['completion', 'all']),
    )
    .option(
      '--batch-size <rows>',
      'rows of a batch',
      atLeast('batch-size', 1),
      configDefault<number>('training.per_device_eval_batch_size'),
    )
    .option(
      '--tasks <file>',
      'YAML file of tasks, or the name of an included one (dialogsum, gsm8k, …): generated answers, multiple choice, loss, each with its metrics',
    )
    .option('--tasks-data <folder>', 'folder that the data files of the tasks lie in, instead of that of the task file')
    .option('--limit <rows>', 'rows of each task at most', atLeast('limit', 1))
    .option('--resamples <count>', 'draws for the confidence intervals; 0 for none', atLeast('resamples', 0), 1000)
    .option('--output <folder>', 'write eval.json and eval.md, of tasks')
    .option('--json', 'print one JSON object')
    .action(async (run: string | undefined, given: Partial<EvalFlags> & Partial<EvalTasksFlags>) => {
      const flags = withRun(run, given);
      if ((flags.data === undefined) === (flags.tasks === undefined))
        throw new ConfigError('give either --data or --tasks');
      if (flags.tasks !== undefined) {
        const { runEvalTasks } = await import('../actions/eval-tasks.js');
        return runEvalTasks(flags as EvalTasksFlags);
      }
      const { runEval } = await import('../actions/eval.js');
      return runEval(flags as EvalFlags);
    });
}

/** A run that is named behind `--data` reads like one more file of it. */
function withRun<T extends Partial<EvalFlags>>(
  run: string | undefined,
  flags: T,
): T & { readonly run?: string | undefined } {
  const last = flags.data?.at(-1);
  if (run !== undefined || flags.model !== undefined || last === undefined || (flags.data?.length ?? 0) < 2)
    return { ...flags, run };
  return isRun(last) ? { ...flags, data: flags.data?.slice(0, -1), run: last } : { ...flags, run };
}

function isRun(path: string): boolean {
  return ['adapter_config.json', 'config.json'].some((file) => existsSync(join(path, file)));
}
