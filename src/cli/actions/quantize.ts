import type { FloatName } from '../../export/floats.js';
import { quantizedFiles } from '../../export/quantize-checkpoint.js';
import { openCheckpoint } from '../../io/weights-file.js';
import { openDirectory } from '../../node.js';
import { planExport } from '../../workspace/export/export-output.js';
import { tell } from '../options.js';
import { printWritten } from '../view/written-files.js';
import { checkModel } from '../../workspace/export/read-back.js';

/** What commander gives the action. */
export interface QuantizeFlags {
  readonly output: string;
  readonly revision?: string;
  readonly quantType: 'nf4' | 'fp4';
  readonly doubleQuant: boolean;
  readonly blocksize: string;
  readonly computeDtype: FloatName;
  readonly skipModules: readonly string[];
  readonly maxShardSize?: number;
  readonly overwrite?: true;
}

/**
 * Writes a model with its linear layers in 4 bits.
 * @throws ConfigError, FormatError before anything is written; FormatError for a weight that is not finite, with
 * nothing left behind.
 */
export async function runQuantize(path: string, flags: QuantizeFlags): Promise<void> {
  const base = await openDirectory(path, { revision: flags.revision, onMessage: tell });
  const output = await planExport(flags.output, {
    overwrite: flags.overwrite === true,
    inputs: [base.name],
    onMessage: tell,
    onWritten: printWritten,
  });
  const checkpoint = await openCheckpoint(base);
  try {
    const { quantType, doubleQuant, blocksize, computeDtype, skipModules, maxShardSize: maxShardBytes } = flags;
    const blockSize = Number(blocksize);
    const files = await quantizedFiles(base, checkpoint, {
      quantType,
      doubleQuant,
      blockSize,
      computeDtype,
      skipModules,
      maxShardBytes,
    });
    // Layers that stay floats cannot be loaded so from the base.
    await output.write(files, (written) =>
      checkModel({
        base,
        quantization: { quantType, doubleQuant, blockSize },
        written,
        same: skipModules.length === 0,
        device: 'auto',
        onMessage: tell,
      }),
    );
  } finally {
    await checkpoint.close();
  }
}
