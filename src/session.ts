import { readAdapterConfig } from './adapters/peft/files.js';
import { AdapterSet } from './adapters/adapter-set.js';
import { savedSettings, trainedBase } from './adapters/settings.js';
import type { Device, DeviceChoice, Host } from './device/device.js';
import { openDevice } from './device/open.js';
import type { Directory } from './io/directory.js';
import type { Decoder } from './model/decoder.js';
import { loadModel, readModelConfig, type LoadQuantization } from './model/load.js';
import { besideAdapters } from './tokenizer/added-tokens.js';
import { withChatTemplate } from './tokenizer/model-chat-template.js';
import { loadTokenizer, type Tokenizer } from './tokenizer/tokenizer.js';

/** What {@link openSession} opens. */
export interface SessionRequest {
  /** A Hugging Face model directory. */
  readonly model: Directory;
  /** A PEFT adapter directory to put on the model: the one adapter, called `adapter` and in force. */
  readonly adapter?: Directory | undefined;
  /** Several, by name. None is in force until `adapters.use(name)`. */
  readonly adapters?: Readonly<Record<string, Directory>> | undefined;
  readonly device: DeviceChoice;
  readonly host: Host;
  /** Undefined keeps the weights as the checkpoint has them. */
  readonly quantization?: LoadQuantization | undefined;
  /** Chat template in place of that of the model or adapter: Jinja, or the name of one (`chatml`). */
  readonly chatTemplate?: string | undefined;
  /** Variables that every conversation is written with, unless it brings its own. */
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Called once the device is open, before the weights are loaded. */
  readonly onDevice?: ((device: Device) => void) | undefined;
  /** Told what is worth knowing of an adapter's files that is no error. */
  readonly onNote?: ((note: string) => void) | undefined;
  /** Called after each tensor that was loaded. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The name of `SessionRequest.adapter`. */
const ONLY = 'adapter';

/** A model on a device, ready to be evaluated or to generate. */
export interface Session {
  readonly device: Device;
  readonly decoder: Decoder;
  /** Undefined for a model that has none: it only takes token ids. */
  readonly tokenizer: Tokenizer | undefined;
  /** What lies beside the base on the device. */
  readonly adapters: AdapterSet;
  /** Releases the weights and closes the device. */
  dispose(): Promise<void>;
}

/**
 * Opens a device and loads a model onto it, with its tokenizer and the adapters that are given. When something fails,
 * all that was opened is closed again.
 * @throws DeviceError when the device cannot be had; FormatError when a file is broken or the adapter does not fit.
 */
export async function openSession(request: SessionRequest): Promise<Session> {
  const named = { ...(request.adapter === undefined ? {} : { [ONLY]: request.adapter }), ...request.adapters };
  const directory = await besideAdapters(request.model, Object.values(named));
  const { chatTemplate, chatTemplateKwargs } = request;
  const tokenizer = await loadTokenizer(
    chatTemplate === undefined ? directory : await withChatTemplate(directory, chatTemplate),
    { chatTemplateKwargs },
  );
  const device = await openDevice(request.device, request.host);
  let decoder: Decoder | undefined;
  let adapters: AdapterSet | undefined;
  try {
    request.onDevice?.(device);
    const { quantization, onProgress } = request;
    const trainable = await trainedBaseOf(request.model, Object.values(named));
    const loaded = await device.guard(
      loadModel(request.model, { quantization, trainable, ...(onProgress === undefined ? {} : { onProgress }) }),
    );
    decoder = loaded;
    const set = new AdapterSet(loaded);
    adapters = set;
    for (const [name, directory] of Object.entries(named)) await device.guard(set.add(name, directory, request.onNote));
    if (request.adapter !== undefined) set.use(ONLY);
    return {
      device,
      decoder: loaded,
      tokenizer,
      adapters: set,
      async dispose() {
        set.dispose();
        loaded.dispose();
        await device.close();
      },
    };
  } catch (error) {
    adapters?.dispose();
    decoder?.dispose();
    await device.close();
    throw error;
  }
}

/** Which of the base's tensors one of the adapters replaces. */
async function trainedBaseOf(
  directory: Directory,
  adapters: readonly Directory[],
): Promise<((tensor: string) => boolean) | undefined> {
  if (adapters.length === 0) return undefined;
  const model = await readModelConfig(directory);
  const trained = (await Promise.all(adapters.map(readAdapterConfig))).map((config) =>
    trainedBase(model, savedSettings(config)),
  );
  return (tensor) => trained.some((one) => one?.(tensor) === true);
}
