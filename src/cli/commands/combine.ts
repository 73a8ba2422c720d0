import { Option, type Command } from 'commander';
import type { CombineFlags } from '../actions/combine.js';
import { numberOption } from '../options.js';

export function registerCombine(program: Command): void {
  program
    .command('combine')
    .description('make one LoRA adapter out of several')
    .argument('<adapters...>', 'PEFT adapter directories, or ids on the Hub')
    .requiredOption('-o, --output <folder>', 'where the new adapter goes')
    .option('--weights <numbers>', 'weight of each, separated by commas; 1 unless given', numbers)
    .addOption(
      new Option(
        '--type <name>',
        'cat: the weighted sum of the updates, of all ranks together; svd: its best approximation at --rank; linear: sums of the factors, for equal ranks',
      )
        .choices(['cat', 'svd', 'linear'])
        .default('cat'),
    )
    .option(
      '--rank <number>',
      'rank of svd; the highest of the adapters unless given',
      numberOption('rank', { min: 1, integer: true }),
    )
    .option('--overwrite', 'replace what is in the folder')
    .action(async (adapters: string[], flags: CombineFlags) => {
      const { runCombine } = await import('../actions/combine.js');
      await runCombine(adapters, flags);
    });
}

function numbers(text: string): number[] {
  return text.split(',').map(numberOption('weights', { min: -Infinity }));
}
