import { Option, type Command } from 'commander';
import { SHAPES } from '../../bench/shapes.js';
import type { KernelFlags, StepFlags } from '../actions/bench.js';
import { deviceOption, numberOption } from '../options.js';

export function registerBench(program: Command): void {
  const bench = program.command('bench').description('how fast a training step and its kernels are here, on random weights');
  const whole = (name: string, min = 1): ((value: string) => number) => numberOption(name, { min, integer: true });
  const common = (command: Command): Command =>
    command
      .addOption(new Option('--shape <name>', 'sizes of the model').choices(Object.keys(SHAPES)).default('tiny'))
      .addOption(deviceOption())
      .option('--batch <rows>', 'rows of a batch (default: as the shape has it)', whole('batch'))
      .option('--seq <tokens>', 'tokens of a row (default: as the shape has it)', whole('seq', 2))
      .option('--layers <count>', 'layers of the model (default: as the shape has it)', whole('layers'))
      .option('--threads <count>', 'threads of the wasm device (default: LOWRANK_THREADS, or one a core)', whole('threads'))
      .option('--rank <r>', 'rank of the LoRA factors', whole('rank'), 8)
      .option('--json', 'print one JSON object');

  common(bench.command('step'))
    .description('time whole steps: forward, backward and AdamW of LoRA on all linear layers, checked against TensorFlow.js ops first')
    .addOption(new Option('--quantize <type>', 'hold the linear layers in 4 bits').choices(['none', 'nf4', 'fp4']).default('none'))
    .addOption(new Option('--kernels <mode>', 'own kernels, or TensorFlow.js ops throughout').choices(['auto', 'reference']).default('auto'))
    .option('--gradient-checkpointing', 'compute activations again in the backward pass instead of keeping them')
    .option('--steps <count>', 'steps that are timed', whole('steps'), 10)
    .option('--warmup <count>', 'steps before them', whole('warmup'), 3)
    .option('--peak <GFLOP/s>', 'what the device can do at most: adds the share of it', numberOption('peak', { min: 0.001 }))
    .action(async (flags: StepFlags) => {
      const { runStepBench } = await import('../actions/bench.js');
      await runStepBench(flags);
    });

  common(bench.command('kernels'))
    .description('time every op forward and backward, each checked against TensorFlow.js ops first')
    .option('--op <name>', 'only ops whose name contains this')
    .addOption(new Option('--against <what>', 'times that too').choices(['reference']))
    .option('--min-ms <ms>', 'least time that one measurement takes', numberOption('min-ms', { min: 0 }), 300)
    .action(async (flags: KernelFlags) => {
      const { runKernelBench } = await import('../actions/bench.js');
      await runKernelBench(flags);
    });
}
