import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileSource } from '../../src/io/node.js';
import { SafetensorsFile } from '../../src/io/safetensors.js';

/** Material that lies beside a development checkout; a clone on its own has the compact part under test/golden. */
export const SHARED = resolve('../shared');
export const HAS_SHARED = existsSync(join(SHARED, 'reference'));

/** Folder of an architecture's references by transformers + peft, or undefined where this checkout has none. */
export function goldenFolder(name: string): string | undefined {
  return [join(SHARED, 'reference/transformers-peft', name), resolve('test/golden/transformers-peft', name)].find((path) => existsSync(path));
}

/** All tensors of a safetensors file as numbers. */
export async function readTensors(path: string): Promise<Map<string, { shape: readonly number[]; values: number[] | Float32Array }>> {
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
