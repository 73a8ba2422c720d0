import type { Command } from 'commander';
import type { VerifyFlags } from '../actions/verify.js';
import { deviceOption } from '../options.js';

export function registerVerify(program: Command): void {
  program
    .command('verify')
    .description('whether an adapter is whole, fits its base, and says what it said when it was trained')
    .argument('<run>', 'folder of a run, of one of its checkpoints, or of a PEFT adapter; or its id on the Hub')
    .option('--model <folder or id>', 'the base model (default: that of the run)')
    .option('--revision <name>', 'branch, tag or commit of a Hub model')
    .addOption(deviceOption())
    .option('--json', 'print one JSON object')
    .action(async (run: string, flags: VerifyFlags) => {
      const { runVerify } = await import('../actions/verify.js');
      await runVerify(run, flags);
    });
}
