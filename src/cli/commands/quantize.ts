import { Option, type Command } from 'commander';
import type { QuantizeFlags } from '../actions/quantize.js';
import { shardSizeOption } from '../options.js';

export function registerQuantize(program: Command): void {
  program
    .command('quantize')
    .description('a model with its linear layers in 4 bits, as transformers and bitsandbytes save it')
    .argument('<model>', 'Hugging Face model directory, or org/name[@revision] of the Hub')
    .requiredOption('-o, --output <folder>', 'folder to write')
    .option('--revision <name>', 'branch, tag or commit of a Hub model')
    .addOption(new Option('--quant-type <name>', 'bnb_4bit_quant_type').choices(['nf4', 'fp4']).default('nf4'))
    .option('--double-quant', 'bnb_4bit_use_double_quant: the scales in 8 bits', true)
    .option('--no-double-quant', 'the scales in float32')
    .addOption(
      new Option('--blocksize <values>', 'values a scale')
        .choices(['32', '64', '128', '256', '512', '1024', '2048', '4096'])
        .default('64'),
    )
    .addOption(
      new Option('--compute-dtype <name>', 'bnb_4bit_compute_dtype, for Python')
        .choices(['float32', 'float16', 'bfloat16'])
        .default('float32'),
    )
    .option('--skip-modules <name...>', 'llm_int8_skip_modules: linear layers that stay as they are', ['lm_head'])
    .addOption(shardSizeOption())
    .option('--overwrite', 'replace the folder')
    .action(async (model: string, flags: QuantizeFlags) => {
      const { runQuantize } = await import('../actions/quantize.js');
      await runQuantize(model, flags);
    });
}
