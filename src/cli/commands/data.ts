import type { Command } from 'commander';
import { readConfig, takesConfig, type ConfigFlags } from '../config-file.js';
import { numberOption } from '../options.js';

interface DataFlags extends ConfigFlags {
  readonly samples: number;
  readonly json?: true;
}

export function registerData(program: Command): void {
  takesConfig(
    program
      .command('data')
      .description(
        'what will be trained on: rows, tokens, lengths, samples; reads the tokenizer and config.json, no weights',
      ),
  )
    .option('--samples <n>', 'examples to show of each data set', numberOption('samples', { min: 0, integer: true }), 1)
    .option('--json', 'print one JSON object')
    .action(async (file: string, flags: DataFlags) => {
      const config = await readConfig(file, flags.set);
      const { runData } = await import('../actions/data.js');
      await runData(config, { samples: flags.samples, json: flags.json === true });
    });
}
