import type { Command } from 'commander';
import { readConfig, takesConfig, type ConfigFlags } from '../config-file.js';

export function registerPlan(program: Command): void {
  takesConfig(
    program.command('plan').description('how much memory a run will need, and whether it fits, from config.json alone'),
  )
    .option('--json', 'print one JSON object')
    .action(async (file: string, flags: ConfigFlags & { readonly json?: true }) => {
      const config = await readConfig(file, flags.set);
      const { runPlan } = await import('../actions/plan.js');
      await runPlan(config, flags.json === true);
    });
}
