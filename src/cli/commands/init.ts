import type { Command } from 'commander';

interface InitFlags {
  readonly output?: string;
  readonly model?: string;
  readonly yes?: true;
  readonly force?: true;
}

export function registerInit(program: Command): void {
  program
    .command('init')
    .description('write a commented config from what a data file holds: columns, lengths, chat template')
    .argument('<data>', 'file, folder, pattern or data set of the Hub with the training rows')
    .option('-o, --output <file>', 'config to write (default: NAME.yaml of the data)')
    .option('--model <folder or id>', 'base model; its tokenizer counts the lengths')
    .option('-y, --yes', 'ask nothing in a terminal: take every proposal')
    .option('--force', 'replace a config that is there')
    .action(async (data: string, flags: InitFlags) => {
      const { runInit } = await import('../actions/init.js');
      await runInit(data, {
        output: flags.output,
        model: flags.model,
        ask: flags.yes !== true,
        force: flags.force === true,
      });
    });
}
