import { Option, type Command } from 'commander';
import { SHAPES } from '../../bench/shapes.js';
import type { KernelFlags, StepFlags } from '../actions/bench.js';
import type { DriftFlags, GrowthFlags } from '../actions/bench-run.js';
import { deviceOption, numberOption } from '../options.js';

export function registerBench(program: Command): void {
  const bench = program
    .command('bench')
    .description('how fast a training step and its kernels are here, on random weights');
  const whole = (name: string, min = 1): ((value: string) => number) => numberOption(name, { min, integer: true });
  const wholes =
    (name: string, min = 1): ((value: string) => number[]) =>
    (value) =>
      value.split(',').map(whole(name, min));
  const common = (command: Command): Command =>
    command
      .addOption(new Option('--shape <name>', 'sizes of the model').choices(Object.keys(SHAPES)).default('tiny'))
      .addOption(deviceOption())
      .option('--batch <rows>', 'rows of a batch (default: as the shape has it)', whole('batch'))
      .option('--seq <tokens>', 'tokens of a row (default: as the shape has it)', whole('seq', 2))
      .option('--layers <count>', 'layers of the model (default: as the shape has it)', whole('layers'))
      .option(
        '--threads <count>',
        'threads of the wasm device (default: LOWRANK_THREADS, or one a core)',
        whole('threads'),
      )
      .addOption(
        new Option('--variant <name>', 'which code kernels run on WebGPU (default: LOWRANK_VARIANT, or auto)').choices([
          'auto',
          'f32',
          'f16',
          'subgroups',
          'subgroup-matrix',
          'lanes',
        ]),
      )
      .option('--rank <r>', 'rank of the LoRA factors', whole('rank'), 8)
      .option('--json', 'print one JSON object');

  common(bench.command('step'))
    .description(
      'time whole steps: forward, backward and AdamW of LoRA on all linear layers, checked against TensorFlow.js ops first',
    )
    .addOption(
      new Option('--quantize <type>', 'hold the linear layers in 4 bits')
        .choices(['none', 'nf4', 'fp4'])
        .default('none'),
    )
    .addOption(
      new Option('--kernels <mode>', 'own kernels, or TensorFlow.js ops throughout')
        .choices(['auto', 'reference'])
        .default('auto'),
    )
    .option('--gradient-checkpointing', 'compute activations again in the backward pass instead of keeping them')
    .option(
      '--no-replay',
      'on WebGPU: run the JavaScript of every step, instead of recording its commands once (also LOWRANK_REPLAY=0)',
    )
    .option('--steps <count>', 'steps that are timed', whole('steps'), 10)
    .option('--warmup <count>', 'steps before them', whole('warmup'), 3)
    .option(
      '--peak <GFLOP/s>',
      'what the device can do at most: adds the share of it',
      numberOption('peak', { min: 0.001 }),
    )
    .action(async (flags: StepFlags) => {
      const { runStepBench } = await import('../actions/bench.js');
      await runStepBench(flags);
    });

  const quantize = (command: Command): Command =>
    command
      .addOption(
        new Option('--quantize <type>', 'hold the linear layers in 4 bits')
          .choices(['none', 'nf4', 'fp4'])
          .default('none'),
      )
      .option('--gradient-checkpointing', 'compute activations again in the backward pass instead of keeping them');

  quantize(common(bench.command('growth')))
    .description(
      'how the time of a step grows with its tokens and its memory with their length, beside the plan; what adapters add to a pass',
    )
    .option(
      '--tokens <list>',
      'tokens of the batches that are timed, in rows of --seq',
      wholes('tokens'),
      [128, 256, 512, 1024, 2048, 4096],
    )
    .option(
      '--lengths <list>',
      'lengths of the one row whose memory is measured',
      wholes('lengths', 2),
      [128, 256, 512, 1024, 2048],
    )
    .option('--steps <count>', 'steps that are timed', whole('steps'), 5)
    .option('--warmup <count>', 'steps before them', whole('warmup'), 2)
    .action(async (flags: GrowthFlags) => {
      const { runGrowthBench } = await import('../actions/bench-run.js');
      await runGrowthBench(flags);
    });

  quantize(common(bench.command('drift')))
    .description('how the time of steps and the memory after them change over a long run')
    .option('--steps <count>', 'steps of the run', whole('steps', 10), 2000)
    .option('--warmup <count>', 'steps before it', whole('warmup'), 10)
    .action(async (flags: DriftFlags) => {
      const { runDriftBench } = await import('../actions/bench-run.js');
      await runDriftBench(flags);
    });

  common(bench.command('kernels'))
    .description('time every op forward and backward, each checked against TensorFlow.js ops first')
    .option('--op <name>', 'only ops whose name contains this')
    .addOption(new Option('--against <what>', 'times that too').choices(['reference']))
    .option('--min-ms <ms>', 'least time that one measurement takes', numberOption('min-ms', { min: 0 }), 300)
    .option(
      '--peak <GFLOP/s>',
      'what the device can do in float32 at most: adds the share of it',
      numberOption('peak', { min: 0.001 }),
    )
    .option(
      '--matrix-peak <GFLOP/s>',
      'the same for variant subgroup-matrix: dense float16',
      numberOption('matrix-peak', { min: 0.001 }),
    )
    .action(async (flags: KernelFlags) => {
      const { runKernelBench } = await import('../actions/bench.js');
      await runKernelBench(flags);
    });
}
