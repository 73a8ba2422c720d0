import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { DeviceChoice } from '../../device/device.js';
import { openDevice } from '../../device/open.js';
import { LowrankError } from '../../errors.js';
import type { OutputFile } from '../../export/output.js';
import { coarsestDtype, probeLogits, probeTokens, requireSameLogits } from '../../export/probe.js';
import { openCheckpoint } from '../../io/weights-file.js';
import { readJson, type Directory } from '../../io/directory.js';
import { isRecord } from '../../io/json.js';
import { isModelType } from '../../model/families/registry.js';
import { loadModel, type LoadQuantization } from '../../model/load.js';
import { nodeHost } from '../../device/node.js';
import { openSession } from '../../session.js';

/** A file's content on its way to disk, and the hash of what passed. */
export interface Hashed {
  readonly content: AsyncIterable<Uint8Array>;
  readonly digest: () => string;
}

export function hashing({ content }: OutputFile): Hashed {
  const hash = createHash('sha256');
  const parts =
    typeof content === 'string' ? [Buffer.from(content)] : content instanceof Uint8Array ? [content] : content;
  async function* passed(): AsyncGenerator<Uint8Array> {
    for await (const part of parts) {
      hash.update(part);
      yield part;
    }
  }
  return { content: passed(), digest: () => hash.digest('hex') };
}

/** @throws LowrankError when what is on disk is not what was written. */
export async function requireWritten(place: string, digest: string, name: string): Promise<void> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(place)) hash.update(part as Uint8Array);
  if (hash.digest('hex') !== digest)
    throw new LowrankError(`${name}: what is on disk is not what was written: the disk or its file system is failing`);
}

export interface ReadBackRequest {
  readonly base: Directory;
  readonly adapter?: Directory | undefined;
  /** How the base's linear layers are held for the comparison. */
  readonly quantization?: LoadQuantization | undefined;
  /** The model that was written, before it gets its name. */
  readonly written: Directory;
  /** Whether its numbers are those of base and adapter; false where it was quantised anew, or parts were left out. */
  readonly same: boolean;
  readonly device: DeviceChoice;
  /** Receives the result of the check. */
  readonly onMessage: (message: string) => void;
}

/**
 * Loads a model that was written, which checks every name, shape and value, and compares the logits of a short input
 * with those of base and adapter. A model of a family that is not implemented is left at the comparison of its bytes,
 * and that is told.
 * @throws FormatError where the model cannot be loaded or says something else
 */
export async function checkModel({
  base,
  adapter,
  quantization,
  written,
  same,
  device: choice,
  onMessage,
}: ReadBackRequest): Promise<void> {
  const config = await readJson(written, 'config.json');
  const type = isRecord(config) ? config['model_type'] : undefined;
  if (!isModelType(type)) {
    onMessage(
      `read back: the bytes are those that were written; logits are not compared, as models of type ${JSON.stringify(type) ?? 'none'} do not run here`,
    );
    return;
  }
  const before = same ? await logitsOfBase({ base, adapter, quantization, device: choice }) : undefined;
  const device = await openDevice(choice, nodeHost);
  try {
    const decoder = await device.guard(loadModel(written));
    try {
      const logits = await device.guard(
        probeLogits(decoder, before?.ids ?? probeTokens(decoder.vocabSize, decoder.maxLength)),
      );
      if (before === undefined) return onMessage('read back: every tensor loads, and logits are finite');
      const checkpoint = await openCheckpoint(written);
      const dtype = coarsestDtype(checkpoint);
      await checkpoint.close();
      const share = requireSameLogits(before.logits, logits, dtype, written.name);
      onMessage(
        `read back: logits of ${before.ids.length} tokens are those of base${adapter === undefined ? '' : ' and adapter'}, to ${share.toExponential(0)} of their deviation`,
      );
    } finally {
      decoder.dispose();
    }
  } finally {
    await device.close();
  }
}

async function logitsOfBase({
  base,
  adapter,
  quantization,
  device,
}: Pick<ReadBackRequest, 'base' | 'adapter' | 'quantization' | 'device'>): Promise<{
  ids: number[];
  logits: Float32Array;
}> {
  const session = await openSession({ model: base, adapter, device, host: nodeHost, quantization });
  try {
    const { decoder } = session;
    const ids = probeTokens(decoder.vocabSize, decoder.maxLength);
    return { ids, logits: await session.device.guard(probeLogits(decoder, ids)) };
  } finally {
    await session.dispose();
  }
}
