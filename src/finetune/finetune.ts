import { openDevice } from '../device/open.js';
import { checkedRequest, withTokenizer } from './load.js';
import type { FinetuneRequest, FinetuneResult } from './request.js';
import type { SharedResources } from './shared-resources.js';
import { FinetuneRun } from './finetune-run.js';

/**
 * A whole run: opens the device, reads model and data, trains an adapter, evaluates it on the test rows, and returns
 * the files of the result. Writes nothing itself. Settings, model, data and adapter are all checked before the first
 * step.
 * @throws ConfigError, FormatError, DataError for what is wrong with the inputs, or has changed since the checkpoint to
 * go on from; DeviceError; TrainingError at a loss that is not finite.
 */
export async function finetune(request: FinetuneRequest): Promise<FinetuneResult> {
  const checked = checkedRequest(request);
  const { config, host, callbacks = {} } = checked;
  const device = await openDevice(config.device, host);
  try {
    callbacks.onDevice?.(device);
    return await new FinetuneRun(await withTokenizer(checked), device).guarded();
  } finally {
    await device.close();
  }
}

/**
 * The same on an open device, with what other runs on it have loaded already; leaves device and base model open. The
 * numbers are those of a run by itself.
 * @throws as finetune.
 */
export async function finetuneOn(shared: SharedResources, request: FinetuneRequest): Promise<FinetuneResult> {
  return new FinetuneRun(await withTokenizer(checkedRequest(request)), shared.device, shared).guarded();
}
