import { join, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import type { Override } from '../../config/overrides.js';
import { ConfigError } from '../../errors.js';
import { configOfOptions, readConfig, takesConfig, type ConfigFlags } from '../config-file.js';
import { dataStem } from '../../workspace/data-stem.js';

interface TrainFlags extends ConfigFlags {
  readonly resume?: true | string;
  readonly force?: true;
  readonly model?: string;
  readonly data?: readonly string[];
  readonly validation?: readonly string[];
  readonly output?: string;
  readonly quantize?: 'nf4' | 'fp4' | 'none';
  readonly chatTemplate?: string;
}

export function registerTrain(program: Command): void {
  takesConfig(
    program.command('train').description('train an adapter as a config describes, or with --model and --data alone'),
    '[config]',
  )
    .option('--model <folder or id>', 'base model, in place of that of the config')
    .option('--data <file...>', 'training rows, in place of data.train')
    .option('--validation <file...>', 'validation rows, in place of data.validation')
    .option(
      '-o, --output <folder>',
      'output folder, in place of training.output_dir (default without a config: out/NAME of the data)',
    )
    .addOption(new Option('--quantize <type>', 'hold the base in 4 bits').choices(['nf4', 'fp4', 'none']))
    .option('--chat-template <template>', 'chat template: a name such as chatml, a file, or the Jinja text')
    .option('--resume [checkpoint]', 'go on from the newest whole checkpoint in output_dir, or from --resume=FOLDER')
    .option('--force', 'with --resume: go on although data, base model or options have changed')
    .action(async (file: string | undefined, flags: TrainFlags) => {
      const { isDirectory } = await import('../../io/node.js');
      // `--resume run.yaml` means the config, and a checkpoint brings its own.
      const named = typeof flags.resume === 'string' ? flags.resume : undefined;
      const folder = named !== undefined && (file !== undefined || (await isDirectory(named))) ? named : undefined;
      const config = file ?? (folder === undefined ? named : join(folder, 'config.yaml'));
      const alone = config === undefined && flags.model !== undefined && flags.data !== undefined;
      if (config === undefined && !alone) throw new ConfigError('give a config, or --model and --data');
      const options = await optionsOf(flags, alone);
      const resume =
        flags.resume === undefined ? [] : [`training.resume_from_checkpoint=${JSON.stringify(folder ?? true)}`];
      const overrides = [...options, ...flags.set, ...resume];
      const read = config === undefined ? await configOfOptions(overrides) : await readConfig(config, overrides);
      // What computes is loaded for a config that can be read.
      const { runTraining } = await import('../actions/train.js');
      await runTraining(read, { force: flags.force === true, again: commandLine(config, flags) });
    });
}

/** The options of a config that the flags stand for. */
async function optionsOf(flags: TrainFlags, alone: boolean): Promise<Override[]> {
  const { isDirectory, isFile } = await import('../../io/node.js');
  // A folder or file that is there is meant, however it is written.
  const existing = async (name: string): Promise<string> =>
    (await isDirectory(name)) || (await isFile(name)) ? resolve(name) : name;
  const option = (path: string, value: unknown, flag: string): Override => ({
    path: path.split('.'),
    value,
    source: flag,
  });
  const list = async (names: readonly string[]): Promise<unknown> =>
    names.length === 1 ? existing(names[0] as string) : Promise.all(names.map(existing));
  const { model, data, validation, output, quantize, chatTemplate } = flags;
  const folder = output ?? (alone ? join('out', dataStem(data?.[0] as string)) : undefined);
  return [
    ...(model === undefined ? [] : [option('model', await existing(model), `--model ${model}`)]),
    ...(data === undefined ? [] : [option('data.train', await list(data), `--data ${data.join(' ')}`)]),
    ...(validation === undefined
      ? []
      : [option('data.validation', await list(validation), `--validation ${validation.join(' ')}`)]),
    ...(folder === undefined ? [] : [option('training.output_dir', folder, `--output ${folder}`)]),
    ...(quantize === undefined
      ? []
      : [option('quantization.load_in_4bit', quantize !== 'none', `--quantize ${quantize}`)]),
    ...(quantize === undefined || quantize === 'none'
      ? []
      : [option('quantization.bnb_4bit_quant_type', quantize, `--quantize ${quantize}`)]),
    ...(chatTemplate === undefined
      ? []
      : [
          option(
            'data.chat_template',
            await (await import('../../workspace/chat-template-files.js')).chatTemplateText(chatTemplate),
            '--chat-template',
          ),
        ]),
  ];
}

/** What a shell takes to go on with a run. */
function commandLine(
  config: string | undefined,
  { set, model, data, validation, output, quantize, chatTemplate }: TrainFlags,
): string {
  const quoted = (word: string): string => (/^[\w./=,:@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  const flag = (name: string, value: string | undefined): string[] => (value === undefined ? [] : [name, value]);
  const named = [
    ...flag('--model', model),
    ...flag('--output', output),
    ...flag('--quantize', quantize),
    ...flag('--chat-template', chatTemplate),
  ];
  const lists = [
    ...(data === undefined ? [] : ['--data', ...data]),
    ...(validation === undefined ? [] : ['--validation', ...validation]),
  ];
  return [
    'lowrank',
    'train',
    ...(config === undefined ? [] : [config]),
    ...named,
    ...lists,
    ...set.flatMap((option) => ['--set', option]),
    '--resume',
  ]
    .map(quoted)
    .join(' ');
}
