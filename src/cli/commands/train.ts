import type { Command } from 'commander';
import { readConfig, takesConfig, type ConfigFlags } from '../config-file.js';

export function registerTrain(program: Command): void {
  takesConfig(program.command('train').description('train an adapter as a config describes')).action(async (file: string, flags: ConfigFlags) => {
    const config = await readConfig(file, flags.set);
    const { runTraining } = await import('../actions/train.js');
    await runTraining(config);
  });
}
