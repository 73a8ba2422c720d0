import { Option, type Command } from 'commander';
import type { AblateFlags } from '../actions/ablate.js';
import { numberOption } from '../options.js';

export function registerAblate(program: Command): void {
  program
    .command('ablate')
    .description(
      'many runs that differ in rank and other settings, with a table and a recommendation; the same command goes on where it was stopped',
    )
    .argument('<config>', 'YAML or JSON file with base, and grid or runs')
    .option(
      '--set <option=value>',
      'replace an option of the base (repeatable)',
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .option('--output <folder>', 'write there instead of to output_dir')
    .option('--retry', 'make runs that failed once more')
    .option('--no-estimate', 'start without measuring how long the runs may take')
    .option(
      '--jobs <count>',
      'processes that make runs at the same time (default: one a core on wasm, else one)',
      numberOption('jobs', { min: 1, integer: true }),
    )
    .addOption(new Option('--only <ids>').hideHelp())
    .option('--queue <url>', 'let workers make the runs (lowrank worker): a Redis server, redis://host[:port]')
    .option('--dry-run', 'list the runs and end')
    .option('--json', 'print one JSON object: the summary')
    .action(async (file: string, flags: AblateFlags) => {
      const { runAblate } = await import('../actions/ablate.js');
      await runAblate(file, flags);
    });
}
