import { Option, type Command } from 'commander';
import type { EvalFlags } from '../actions/eval.js';
import { configDefault, numberOption, takesModel } from '../options.js';

export function registerEval(program: Command): void {
  const atLeast = (name: string, min: number): ((value: string) => number) => numberOption(name, { min, integer: true });
  takesModel(program.command('eval').description('mean loss of a model, with or without an adapter, on rows of a file'))
    .requiredOption('--data <file...>', 'JSONL file or files')
    .addOption(
      new Option('--format <name>', 'what a row holds').choices(['auto', 'text', 'completion', 'messages', 'alpaca', 'tokens']).default('auto'),
    )
    .option('--template <jinja>', 'template of the prompt, or `alpaca`')
    .option('--prompt-field <name>', 'field of a row that holds the prompt')
    .option('--completion-field <name>', 'field of a row that holds the completion')
    .option('--completion-template <jinja>', 'template of the completion')
    .option('--max-length <tokens>', 'longer rows are cut', atLeast('max-length', 2), configDefault<number>('data.max_length'))
    .addOption(new Option('--train-on <part>', 'tokens that the loss counts').choices(['completion', 'all']).default(configDefault<string>('data.train_on')))
    .option('--batch-size <rows>', 'rows of a batch', atLeast('batch-size', 1), configDefault<number>('training.per_device_eval_batch_size'))
    .option('--json', 'print one JSON object')
    .action(async (flags: EvalFlags) => {
      const { runEval } = await import('../actions/eval.js');
      await runEval(flags);
    });
}
