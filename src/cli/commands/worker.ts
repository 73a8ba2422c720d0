import { Option, type Command } from 'commander';
import type { WorkerFlags } from '../actions/worker.js';
import { numberOption } from '../options.js';

export function registerWorker(program: Command): void {
  program
    .command('worker')
    .description('makes runs that `lowrank ablate --queue` has put into a queue, on this machine or any other')
    .addOption(new Option('--queue <url>', 'redis://[user:password@]host[:port][/database]').env('LOWRANK_QUEUE'))
    .option(
      '--concurrency <n>',
      'runs at a time, each in a process of its own',
      numberOption('concurrency', { min: 1, integer: true }),
      1,
    )
    .option('--name <name>', 'how it is shown (default: host and process)')
    .option('--once', 'end after one run')
    .option('--drain', 'end when nothing waits and nothing runs, here or elsewhere')
    .option(
      '--lock <seconds>',
      'a worker that is silent for so long is taken for dead, and its run goes to another',
      numberOption('lock', { min: 1 }),
      30,
    )
    .option(
      '--folders <folder...>',
      'local folders that runs may name for models, adapters, rows and tasks (default: any that this user can read)',
    )
    .addOption(new Option('--child').hideHelp())
    .action(async (flags: WorkerFlags) => {
      const { runWorker } = await import('../actions/worker.js');
      await runWorker(flags);
    });
}
