import type { Command } from 'commander';
import type { QuickstartFlags } from '../actions/quickstart.js';
import { deviceOption } from '../options.js';

export function registerQuickstart(program: Command): void {
  program
    .command('quickstart')
    .description(
      'teach a small model that comes along a new task with QLoRA, and show what it learnt and what it forgot',
    )
    .option('-o, --output <folder>', 'where the adapter goes', 'out/quickstart')
    .option(
      '--set <option=value>',
      'replace an option of configs/quickstart.yaml (repeatable)',
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option('--json', 'print the measurements as one JSON object')
    .addOption(deviceOption())
    .action(async (flags: QuickstartFlags) => {
      const { runQuickstart } = await import('../actions/quickstart.js');
      await runQuickstart(flags);
    });
}
