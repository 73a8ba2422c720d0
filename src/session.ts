import type { Adapter } from './adapters/adapter.js';
import { loadAdapter } from './adapters/peft-files.js';
import type { Device, DeviceChoice, Host } from './device/device.js';
import { openDevice } from './device/open.js';
import type { Directory } from './io/directory.js';
import type { Decoder } from './model/decoder.js';
import { loadModel, type LoadQuantization } from './model/load.js';
import { loadTokenizer, type Tokenizer } from './tokenizer/tokenizer.js';

export interface SessionRequest {
  /** A Hugging Face model directory. */
  readonly model: Directory;
  /** A PEFT adapter directory to put on the model. */
  readonly adapter?: Directory | undefined;
  readonly device: DeviceChoice;
  readonly host: Host;
  /** Undefined keeps the weights as the checkpoint has them. */
  readonly quantization?: LoadQuantization | undefined;
  /** Called once the device is open, before the weights are loaded. */
  readonly onDevice?: ((device: Device) => void) | undefined;
  /** Called after each tensor that was loaded. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A model on a device, ready to be evaluated or to generate. */
export interface Session {
  readonly device: Device;
  readonly decoder: Decoder;
  /** Undefined for a model that has none: it only takes token ids. */
  readonly tokenizer: Tokenizer | undefined;
  readonly adapter: Adapter | undefined;
  /** Releases the weights and closes the device. */
  dispose(): Promise<void>;
}

/**
 * Opens a device and loads a model onto it, with its tokenizer and, where given, an adapter. When something fails, all that was
 * opened is closed again.
 * @throws DeviceError when the device cannot be had; FormatError when a file is broken or the adapter does not fit.
 */
export async function openSession(request: SessionRequest): Promise<Session> {
  const tokenizer = await loadTokenizer(request.model);
  const device = await openDevice(request.device, request.host);
  let decoder: Decoder | undefined;
  try {
    request.onDevice?.(device);
    const { quantization, onProgress } = request;
    const loaded = await device.guard(loadModel(request.model, { quantization, ...(onProgress === undefined ? {} : { onProgress }) }));
    decoder = loaded;
    const adapter = request.adapter === undefined ? undefined : await device.guard(loadAdapter(loaded, request.adapter));
    return {
      device,
      decoder: loaded,
      tokenizer,
      adapter,
      async dispose() {
        adapter?.dispose();
        loaded.dispose();
        await device.close();
      },
    };
  } catch (error) {
    decoder?.dispose();
    await device.close();
    throw error;
  }
}
