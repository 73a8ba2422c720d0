import { stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { ADAPTER_WEIGHTS } from '../../adapters/peft/files.js';
import type { DeviceChoice } from '../../device/device.js';
import { quantizationOf } from '../../finetune/options.js';
import { ConfigError } from '../../errors.js';
import { isFile, localDirectory, nodeHost } from '../../node.js';
import { openSession } from '../../session.js';
import { readConfig } from '../config-file.js';
import { configsFolder } from '../../workspace/configs-folder.js';
import { describeDevice, tell } from '../options.js';
import { readForgetting } from '../../workspace/quickstart/full-finetuning.js';
import { measure, type Measured } from '../../workspace/quickstart/measure.js';
import { formatQuickstart } from '../view/quickstart-report.js';
import { runTraining } from './train.js';
import { print } from '../view/terminal.js';

/** What commander gives the action. */
export interface QuickstartFlags {
  readonly output: string;
  readonly device: DeviceChoice;
  readonly set: readonly string[];
  readonly json?: true;
}

/** Prints what the model did before and after. */
export async function runQuickstart(flags: QuickstartFlags): Promise<void> {
  const result = await measureQuickstart(flags);
  print(flags.json === true ? `${JSON.stringify(result)}\n` : `\n${formatQuickstart(result)}\n`);
}

/** Measures the base model, trains, and measures again with the adapter as it was saved. */
export async function measureQuickstart(flags: QuickstartFlags): Promise<Parameters<typeof formatQuickstart>[0]> {
  const started = performance.now();
  const folder = configsFolder();
  const output = resolve(flags.output);
  if (!(await isFile(join(folder, 'quickstart/base/model.safetensors'))))
    throw new ConfigError(
      'the base model of the quickstart is in the repository of lowrank, not in its npm package: run it in a clone, or train a model of your own with lowrank train --model M --data F',
    );
  const config = await readConfig(join(folder, 'quickstart.yaml'), [
    `training.output_dir=${JSON.stringify(output)}`,
    `device=${flags.device}`,
    ...flags.set,
  ]);
  const files = {
    validation: join(folder, 'quickstart/validation.jsonl'),
    retain: join(folder, 'quickstart/retain.jsonl'),
  };
  const measured = async (adapter?: string): Promise<Measured> => {
    const session = await openSession({
      model: localDirectory(config.model),
      adapter: adapter === undefined ? undefined : localDirectory(adapter),
      device: config.device,
      host: nodeHost,
      quantization: quantizationOf(config),
      onDevice: (device) => {
        if (adapter === undefined) tell(describeDevice(device));
      },
    });
    try {
      return await measure(session, files);
    } finally {
      await session.dispose();
    }
  };
  tell('1 of 3: the new task (summarise a dialogue) and the old ones, before training');
  const before = await measured();
  tell('2 of 3: training an adapter on the 4-bit base (QLoRA)');
  await runTraining(config);
  tell('3 of 3: the same rows again, with the adapter');
  const after = await measured(output);
  const { size } = await stat(join(output, ADAPTER_WEIGHTS));
  const shown = relative(process.cwd(), output);
  const full = await readForgetting(join(folder, 'quickstart/full.json'));
  return {
    before,
    after,
    full,
    adapter: shown.startsWith('..') ? output : shown,
    adapterBytes: size,
    seconds: (performance.now() - started) / 1000,
  };
}
