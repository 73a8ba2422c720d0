import type { Command } from 'commander';
import type { VerifyFlags } from '../actions/verify.js';
import { deviceOption } from '../options.js';

export function registerVerify(program: Command): void {
  program
    .command('verify')
    .description('whether an adapter is whole, fits its base, and says what it said when it was trained')
    .argument('<adapter>', 'PEFT adapter directory, or its id on the Hub')
    .requiredOption('--model <folder or id>', 'the base model')
    .option('--revision <name>', 'branch, tag or commit of a Hub model')
    .addOption(deviceOption())
    .option('--json', 'print one JSON object')
    .action(async (adapter: string, flags: VerifyFlags) => {
      const { runVerify } = await import('../actions/verify.js');
      await runVerify(adapter, flags);
    });
}
