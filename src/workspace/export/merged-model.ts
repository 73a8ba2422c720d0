import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device, DeviceChoice } from '../../device/device.js';
import { ConfigError } from '../../errors.js';
import { divergence, type Divergence } from '../../eval/divergence.js';
import type { OutputFile } from '../../export/output.js';
import { quantizedFiles } from '../../export/quantize-checkpoint.js';
import { openCheckpoint } from '../../io/weights-file.js';
import type { Directory } from '../../io/directory.js';
import { loadModel } from '../../model/load.js';
import { nodeHost } from '../../device/node.js';
import { isFile, localDirectory, writeFileAtomic } from '../../io/node.js';
import { recordedQuantization } from '../../record/quantization.js';
import { readRecord } from '../../record/record.js';
import { openSession } from '../../session.js';
import { stageOutput } from '../staged-output.js';

type Write = (files: readonly OutputFile[]) => Promise<void>;

/** Merges to floats aside, and writes those in 4 bits: one sum, quantised once. */
export async function requantized(
  output: string,
  quantType: 'nf4' | 'fp4',
  merge: (write: Write) => Promise<void>,
  write: Write,
  onStop?: () => void,
): Promise<void> {
  const aside = await stageOutput(`${output}.float`, onStop);
  try {
    await merge(async (files) => {
      for (const file of files) await writeFileAtomic(join(aside.path, file.path), file.content);
    });
    const floats = localDirectory(aside.path);
    const checkpoint = await openCheckpoint(floats);
    try {
      await write(
        await quantizedFiles(floats, checkpoint, {
          quantType,
          doubleQuant: true,
          blockSize: 64,
          computeDtype: 'float32',
          skipModules: [],
        }),
      );
    } finally {
      await checkpoint.close();
    }
  } finally {
    await aside.discard();
  }
}

const ROW_TOKENS = 256;
const MAX_ROWS = 8;

export interface ChangeRequest {
  /** A text file. */
  readonly text: string;
  readonly base: Directory;
  readonly adapter: Directory;
  readonly merged: Directory;
  readonly device: DeviceChoice;
  readonly onDevice?: ((device: Device) => void) | undefined;
}

/**
 * Measures how far the predictions of a merged model are from those of base and adapter, the base held as it was in
 * training.
 * @throws ConfigError for a file that is not there, or a model without a tokenizer
 */
export async function outputChange({
  text,
  base,
  adapter,
  merged,
  device,
  onDevice,
}: ChangeRequest): Promise<Divergence> {
  if (!(await isFile(text))) throw new ConfigError(`--text: ${text}: no such file`);
  const record = await readRecord(adapter);
  const session = await openSession({
    ...{ model: base, adapter, device, host: nodeHost, quantization: recordedQuantization(record) },
    onDevice,
  });
  try {
    const { decoder, tokenizer } = session;
    if (tokenizer === undefined) throw new ConfigError('--text needs a model with a tokenizer');
    const ids = tokenizer.encodeText(await readFile(text, 'utf8'));
    const length = Math.min(ROW_TOKENS, decoder.maxLength);
    const rows = Array.from({ length: Math.min(MAX_ROWS, Math.ceil(ids.length / length)) }, (_, i) =>
      ids.slice(i * length, (i + 1) * length),
    );
    const after = await session.device.guard(loadModel(merged));
    try {
      return await session.device.guard(divergence(decoder, rows, () => after));
    } finally {
      after.dispose();
    }
  } finally {
    await session.dispose();
  }
}
