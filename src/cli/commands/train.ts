import { join } from 'node:path';
import type { Command } from 'commander';
import { ConfigError } from '../../errors.js';
import { readConfig, takesConfig, type ConfigFlags } from '../config-file.js';

interface TrainFlags extends ConfigFlags {
  readonly resume?: true | string;
  readonly force?: true;
}

export function registerTrain(program: Command): void {
  takesConfig(program.command('train').description('train an adapter as a config describes'), '[config]')
    .option('--resume [checkpoint]', 'go on from the newest whole checkpoint in output_dir, or from --resume=FOLDER')
    .option('--force', 'with --resume: go on although data, base model or options have changed')
    .action(async (file: string | undefined, flags: TrainFlags) => {
      const { isDirectory, runTraining } = await import('../actions/train.js');
      // `--resume run.yaml` means the config, and a checkpoint brings its own.
      const named = typeof flags.resume === 'string' ? flags.resume : undefined;
      const folder = named !== undefined && (file !== undefined || (await isDirectory(named))) ? named : undefined;
      const config = file ?? (folder === undefined ? named : join(folder, 'config.yaml'));
      if (config === undefined) throw new ConfigError("missing required argument 'config'");
      const resume = flags.resume === undefined ? [] : [`training.resume_from_checkpoint=${JSON.stringify(folder ?? true)}`];
      await runTraining(await readConfig(config, [...flags.set, ...resume]), { force: flags.force === true, again: commandLine(config, flags.set) });
    });
}

/** What a shell takes to go on with a run. */
function commandLine(config: string, set: readonly string[]): string {
  const quoted = (word: string): string => (/^[\w./=,:@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  return ['lowrank', 'train', config, ...set.flatMap((option) => ['--set', option]), '--resume'].map(quoted).join(' ');
}
