import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileSource } from '../../src/io/node.js';
import { SafetensorsFile } from '../../src/io/safetensors.js';
import { referencePath, SHARED } from './references.js';

export { SHARED };

const below = (name: string): string => `reference/transformers-peft/${name}`;

/**
 * Folder of an architecture's references by transformers + peft (a clone on its own has some of them), or undefined
 * where there are none.
 */
export function goldenFolder(name: string): string | undefined {
  return [referencePath(below(name)), resolve('test/golden/transformers-peft', name)].find((path) => existsSync(path));
}

/** Those of the architectures that `goldenFolder` does not find, as paths of `describeReferences`. */
export function missingGoldens(...names: readonly string[]): string[] {
  return names.filter((name) => goldenFolder(name) === undefined).map(below);
}

/** All tensors of a safetensors file as numbers. */
export async function readTensors(
  path: string,
): Promise<Map<string, { shape: readonly number[]; values: number[] | Float32Array }>> {
  const source = await fileSource(path);
  try {
    const file = await SafetensorsFile.open(source);
    const out = new Map<string, { shape: readonly number[]; values: number[] | Float32Array }>();
    for (const [name, info] of file.tensors) {
      if (info.dtype === 'I64') {
        const { bytes } = await file.read(name);
        out.set(name, { shape: info.shape, values: Array.from(new BigInt64Array(bytes.slice().buffer), Number) });
      } else {
        out.set(name, { shape: info.shape, values: await file.readFloat32(name) });
      }
    }
    return out;
  } finally {
    await source.close();
  }
}
