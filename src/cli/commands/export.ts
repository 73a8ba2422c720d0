import { Option, type Command } from 'commander';
import type { ExportFlags } from '../actions/export.js';
import { deviceOption, shardSizeOption } from '../options.js';
import { chatTemplateOption } from '../run-session.js';

export function registerExport(program: Command): void {
  program
    .command('export')
    .description('an adapter as other tools read it: PEFT, merged into its model, llama.cpp and Ollama, mlx-lm')
    .argument('<run>', 'folder of a run, of one of its checkpoints, or of a PEFT adapter; or its id on the Hub')
    .addOption(
      new Option('--format <name>', 'what to write').choices(['peft', 'merged', 'gguf', 'mlx']).makeOptionMandatory(),
    )
    .requiredOption('-o, --output <path>', 'folder; for gguf a file too')
    .option(
      '--model <folder or id>',
      'base model (default: that of the run); gguf and mlx read its config.json, merged its weights',
    )
    .option('--revision <name>', 'branch, tag or commit of a Hub model')
    .addOption(chatTemplateOption())
    .option('--portable', 'peft: for tools that read r and lora_alpha only; rsLoRA and patterns go into B')
    .addOption(
      new Option('--dtype <name>', 'merged, gguf: dtype of the floats').choices(['float32', 'float16', 'bfloat16']),
    )
    .addOption(shardSizeOption())
    .option('--from <model>', 'gguf: the base as Ollama knows it, for the Modelfile')
    .addOption(
      new Option(
        '--requantize <type>',
        'merged: hold the linear layers of the result in 4 bits, which changes them',
      ).choices(['nf4', 'fp4']),
    )
    .option(
      '--text <file>',
      'merged: text on which the result is compared with base and adapter: mean KL divergence of their predictions',
    )
    .addOption(deviceOption())
    .option('--overwrite', 'replace what is there')
    .action(async (run: string, flags: ExportFlags) => {
      const { runExport } = await import('../actions/export.js');
      await runExport(run, flags);
    });
}
