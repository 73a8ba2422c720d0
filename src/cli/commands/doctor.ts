import type { Command } from 'commander';

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what each device would give here, what is missing, and which one `auto` takes')
    .option('--json', 'print one JSON object')
    .action(async (flags: { json?: true }) => {
      const { runDoctor } = await import('../actions/doctor.js');
      await runDoctor(flags);
    });
}
