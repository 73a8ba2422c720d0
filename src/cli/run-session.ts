import { Option, type Command } from 'commander';
import type { DeviceChoice } from '../device/device.js';
import type { RunSession } from '../workspace/open-run-session.js';
import { describeDevice, deviceOption, tell } from './options.js';

/** What commander gives the action of a command made by `takesRun`, with the run's path. */
export interface RunFlags {
  readonly run?: string | undefined;
  readonly model?: string;
  readonly revision?: string;
  readonly adapter?: readonly string[];
  readonly quantize?: 'nf4' | 'fp4' | 'none';
  readonly chatTemplate?: string;
  readonly device: DeviceChoice;
}

export const RUN_ARGUMENT =
  'folder of a run, of one of its checkpoints, or of a PEFT adapter: base model, quantisation, chat template and prompt format are those of its training';

/** Lets a command take a run, or a model with adapters, and say where and how it runs. */
export function takesRun(command: Command): Command {
  return command
    .argument('[run]', RUN_ARGUMENT)
    .option(
      '--model <folder or id>',
      'Hugging Face model directory, or org/name[@revision] of the Hub (default: the base model of the run)',
    )
    .option('--revision <name>', 'branch, tag or commit of a Hub model')
    .option(
      '--adapter <[name=]folder or id...>',
      'PEFT adapter or adapters to put on the model (default: that of the run)',
    )
    .addOption(
      new Option(
        '--quantize <type>',
        'hold the linear layers in 4 bits (default: as in the training of the run, else none)',
      ).choices(['nf4', 'fp4', 'none']),
    )
    .addOption(chatTemplateOption())
    .addOption(deviceOption());
}

export function chatTemplateOption(): Option {
  return new Option(
    '--chat-template <template>',
    'chat template: a name such as chatml, a file, or the Jinja text (default: that of the training)',
  );
}

/** Opens what the flags of {@link takesRun} name; what is used goes to standard error. */
export async function openRunOfFlags(flags: RunFlags): Promise<RunSession> {
  // Loaded here, so that the help does not wait for TensorFlow.js.
  const { openRunSession } = await import('../workspace/open-run-session.js');
  return openRunSession({
    ...flags,
    onMessage: tell,
    onDevice: (device) => {
      tell(describeDevice(device));
    },
  });
}
