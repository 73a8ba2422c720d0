import { isAbsolute, relative } from 'node:path';
import type { RunConfig } from '../config/schema.js';
import type { RowOptions } from '../data/parts.js';
import type { Device, DeviceChoice } from '../device/device.js';
import { nodeHost } from '../device/node.js';
import { ConfigError } from '../errors.js';
import type { RunFolder } from '../finetune/run-folder.js';
import type { Directory } from '../io/directory.js';
import { openDirectory } from '../io/open-directory.js';
import { readModelConfig, type LoadQuantization } from '../model/load.js';
import { openSession, type Session } from '../session.js';
import { chatTemplateText } from './chat-template-files.js';
import { baseDifference, findBase, readRun } from './open-run.js';

/** A run, or a model with adapters, and how to open it. */
export interface RunSessionRequest {
  /** Folder of a run, of one of its checkpoints, or of a PEFT adapter. */
  readonly run?: string | undefined;
  /** Folder or Hub id of the base model. Default: that of the run. */
  readonly model?: string | undefined;
  /** Branch, tag or commit of a Hub model. */
  readonly revision?: string | undefined;
  /** Folders of PEFT adapters, each as `folder` or `name=folder`. Default: that of the run. */
  readonly adapter?: readonly string[] | undefined;
  /** Default: as in the training of the run, else floats. */
  readonly quantize?: 'nf4' | 'fp4' | 'none' | undefined;
  /** A name, a file, or the Jinja text. Default: that of the training. */
  readonly chatTemplate?: string | undefined;
  /** Default `auto`. */
  readonly device?: DeviceChoice | undefined;
  /** What is used, and warnings where it differs from the training, one line each. */
  readonly onMessage?: ((text: string) => void) | undefined;
  /** Called once the device is open, before the weights are loaded. */
  readonly onDevice?: ((device: Device) => void) | undefined;
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
 * Opens a run, or a model with adapters, as the run was trained: quantisation, chat template and row format are its own
 * unless the request names others.
 * @throws ConfigError when neither a run nor a model is named, or adapters of different bases are.
 */
export async function openRunSession(request: RunSessionRequest): Promise<RunSession> {
  const onMessage = (text: string): void => request.onMessage?.(text);
  const open = async (path: string): Promise<RunFolder> => readRun(path, { onMessage });
  const run = request.run === undefined ? undefined : await open(request.run);
  const adapters = await namedAdapters(request, run, open);
  const folders = Object.values(adapters);
  const primary = run ?? folders[0];
  if (primary === undefined && request.model === undefined)
    throw new ConfigError('name a run, or a model with --model');
  const bases =
    request.model === undefined
      ? await Promise.all([...(run === undefined ? [] : [run]), ...folders].map((folder) => findBase(folder)))
      : [];
  const names = new Set(bases.map((base) => JSON.stringify(base)));
  if (names.size > 1)
    throw new ConfigError(
      `the adapters were trained on different models (${[...new Set(bases.map((base) => base?.model ?? request.run))].join(', ')}): name one with --model`,
    );
  const [base] = bases;
  const model =
    request.model !== undefined
      ? await openDirectory(request.model, { revision: request.revision, onMessage })
      : base === undefined
        ? (run as RunFolder).directory
        : await openDirectory(base.model, { revision: base.revision ?? request.revision, onMessage });
  const quantization = quantizationOf(request.quantize, primary);
  if (base !== undefined)
    onMessage(
      `base model: ${shown(base.model)}${quantization === undefined ? '' : `, ${quantization.quantType}`} (from ${shown((primary as RunFolder).directory.name)})`,
    );
  for (const folder of folders) {
    const difference = await baseDifference(folder, model);
    if (difference !== undefined) onMessage(`warning: ${difference}`);
    const held = await heldOtherwise(folder, quantization, model);
    if (held !== undefined) onMessage(`warning: ${held}`);
  }
  const session = await openSession({
    model,
    adapters: Object.fromEntries(Object.entries(adapters).map(([name, folder]) => [name, folder.directory])),
    device: request.device ?? 'auto',
    host: nodeHost,
    quantization,
    chatTemplate:
      request.chatTemplate === undefined ? primary?.chatTemplate : await chatTemplateText(request.chatTemplate),
    chatTemplateKwargs: primary?.rows.chat_template_kwargs,
    onDevice: (device) => request.onDevice?.(device),
    onNote: onMessage,
  });
  // A single one is meant to be used.
  if (session.adapters.names.length === 1) session.adapters.use(session.adapters.names[0]);
  return {
    session,
    rows: primary?.rows ?? {},
    config: primary?.config,
    model: request.model ?? shown(base?.model ?? model.name),
    quantize: quantization?.quantType ?? 'none',
  };
}

/** Those of the request, else that of the run. */
async function namedAdapters(
  request: RunSessionRequest,
  run: RunFolder | undefined,
  open: (path: string) => Promise<RunFolder>,
): Promise<Record<string, RunFolder>> {
  const adapters: Record<string, RunFolder> = {};
  if (request.adapter === undefined && run?.adapter !== undefined)
    adapters[namedAdapter(run.directory.name).name] = run;
  for (const given of request.adapter ?? []) {
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
function quantizationOf(
  asked: RunSessionRequest['quantize'],
  run: RunFolder | undefined,
): LoadQuantization | undefined {
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

/** `name=folder`; without a name the folder's own. */
export function namedAdapter(given: string): { name: string; path: string } {
  const [, name, path] = /^([\w.-]+)=(.+)$/.exec(given) ?? [];
  if (name !== undefined && path !== undefined) return { name, path };
  return { name: given.split(/[\\/]/).findLast((segment) => segment !== '') ?? given, path: given };
}
