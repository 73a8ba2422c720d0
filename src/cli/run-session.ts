import { isAbsolute, relative } from 'node:path';
import { Option, type Command } from 'commander';
import type { RunConfig } from '../config/schema.js';
import type { RowOptions } from '../data/parts.js';
import type { DeviceChoice } from '../device/device.js';
import { ConfigError } from '../errors.js';
import type { Directory } from '../io/directory.js';
import type { LoadQuantization } from '../model/load.js';
import type { RunFolder } from '../finetune/run-folder.js';
import type { Session } from '../session.js';
import { chatTemplateText } from './chat-template-flag.js';
import { describeDevice, deviceOption, namedAdapter, tell } from './options.js';

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

/** A session with what the run says of its training. */
export interface RunSession {
  readonly session: Session;
  /** How the rows of the training were read; empty without a run. */
  readonly rows: RowOptions;
  /** Undefined without a run, or for an adapter made elsewhere. */
  readonly config: RunConfig | undefined;
  /** For reports. */
  readonly model: string;
  readonly quantize: 'nf4' | 'fp4' | 'none';
}

/**
 * Opens what the flags of `takesRun` name. What is used, and where it differs from the training, goes to standard
 * error.
 * @throws ConfigError when neither a run nor a model is named, or adapters of different bases are.
 */
export async function openRunSession(flags: RunFlags): Promise<RunSession> {
  // Loaded here, so that the help does not wait for TensorFlow.js.
  const [{ nodeHost, openDirectory }, { openSession }, { baseDifference, findBase }, { readRunFolder }] =
    await Promise.all([
      import('../node.js'),
      import('../session.js'),
      import('../workspace/open-run.js'),
      import('../finetune/run-folder.js'),
    ]);
  const onMessage = tell;
  const open = async (path: string): Promise<RunFolder> => readRunFolder(await openDirectory(path, { onMessage }));
  const run = flags.run === undefined ? undefined : await open(flags.run);
  const adapters = await namedAdapters(flags, run, open);
  const folders = Object.values(adapters);
  const primary = run ?? folders[0];
  if (primary === undefined && flags.model === undefined) throw new ConfigError('name a run, or a model with --model');
  const bases =
    flags.model === undefined
      ? await Promise.all([...(run === undefined ? [] : [run]), ...folders].map((folder) => findBase(folder)))
      : [];
  const names = new Set(bases.map((base) => JSON.stringify(base)));
  if (names.size > 1)
    throw new ConfigError(
      `the adapters were trained on different models (${[...new Set(bases.map((base) => base?.model ?? flags.run))].join(', ')}): name one with --model`,
    );
  const [base] = bases;
  const model =
    flags.model !== undefined
      ? await openDirectory(flags.model, { revision: flags.revision, onMessage })
      : base === undefined
        ? (run as RunFolder).directory
        : await openDirectory(base.model, { revision: base.revision ?? flags.revision, onMessage });
  const quantization = quantizationOf(flags.quantize, primary);
  if (base !== undefined)
    tell(
      `base model: ${shown(base.model)}${quantization === undefined ? '' : `, ${quantization.quantType}`} (from ${shown((primary as RunFolder).directory.name)})`,
    );
  for (const folder of folders) {
    const difference = await baseDifference(folder, model);
    if (difference !== undefined) tell(`warning: ${difference}`);
    const held = await heldOtherwise(folder, quantization, model);
    if (held !== undefined) tell(`warning: ${held}`);
  }
  const session = await openSession({
    model,
    adapters: Object.fromEntries(Object.entries(adapters).map(([name, folder]) => [name, folder.directory])),
    device: flags.device,
    host: nodeHost,
    quantization,
    chatTemplate: flags.chatTemplate === undefined ? primary?.chatTemplate : await chatTemplateText(flags.chatTemplate),
    chatTemplateKwargs: primary?.rows.chat_template_kwargs,
    onDevice: (device) => {
      tell(describeDevice(device));
    },
    onNote: tell,
  });
  // A single one is meant to be used.
  if (session.adapters.names.length === 1) session.adapters.use(session.adapters.names[0]);
  return {
    session,
    rows: primary?.rows ?? {},
    config: primary?.config,
    model: flags.model ?? shown(base?.model ?? model.name),
    quantize: quantization?.quantType ?? 'none',
  };
}

/** Those of the flags, else that of the run. */
async function namedAdapters(
  flags: RunFlags,
  run: RunFolder | undefined,
  open: (path: string) => Promise<RunFolder>,
): Promise<Record<string, RunFolder>> {
  const adapters: Record<string, RunFolder> = {};
  if (flags.adapter === undefined && run?.adapter !== undefined) adapters[namedAdapter(run.directory.name).name] = run;
  for (const given of flags.adapter ?? []) {
    const { name, path } = namedAdapter(given);
    if (Object.hasOwn(adapters, name))
      throw new ConfigError(`--adapter: two are called ${name}; name them apart with name=folder`);
    const folder = await open(path);
    if (folder.adapter === undefined)
      throw new ConfigError(`--adapter ${path}: is a model, not an adapter: name it as the run, or with --model`);
    adapters[name] = folder;
  }
  return adapters;
}

/** As asked for, with the settings of the training where the type is the same; else as in the training. */
function quantizationOf(asked: RunFlags['quantize'], run: RunFolder | undefined): LoadQuantization | undefined {
  if (asked === undefined) return run?.quantization;
  if (asked === 'none') return undefined;
  return run?.quantization?.quantType === asked ? run.quantization : { quantType: asked };
}

/** How the base is held, where it was held otherwise in training; undefined where it was not, or nobody can tell. */
async function heldOtherwise(
  folder: RunFolder,
  held: LoadQuantization | undefined,
  model: Directory,
): Promise<string | undefined> {
  if (folder.config === undefined && folder.record === undefined) return undefined;
  const { readModelConfig } = await import('../model/load.js');
  // Files in 4 bits stay as they are.
  if ((await readModelConfig(model)).quantization !== undefined) return undefined;
  const [now, then] = [describeQuantization(held), describeQuantization(folder.quantization)];
  return now === then
    ? undefined
    : `the base model is held in ${now}; ${shown(folder.directory.name)} was trained over ${then}`;
}

function describeQuantization(quantization: LoadQuantization | undefined): string {
  if (quantization === undefined) return 'floats';
  const { quantType, doubleQuant = true, blockSize = 64 } = quantization;
  return `${quantType}${doubleQuant ? '' : ' without double quantisation'}${blockSize === 64 ? '' : ` in blocks of ${blockSize}`}`;
}

/** A path as a reader here would write it. */
function shown(path: string): string {
  if (!isAbsolute(path)) return path;
  const here = relative(process.cwd(), path);
  return here === '' ? '.' : here.startsWith('..') ? path : here;
}
