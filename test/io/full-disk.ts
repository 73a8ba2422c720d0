import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stageDirectory, writeFileAtomic } from '../../src/io/node.js';

/** Run on a disk of 64 KiB: fills it through both writers and prints what they said and left. */
const folder = process.argv.at(-1) as string;
const file = join(folder, 'weights.bin');
writeFileSync(file, 'before');
const said: string[] = [];
const attempt = async (work: () => Promise<void>): Promise<void> => {
  try {
    await work();
    said.push('no error');
  } catch (error) {
    said.push(`${(error as Error).name}: ${(error as Error).message}`);
  }
};
await attempt(() => writeFileAtomic(file, new Uint8Array(1 << 20)));
await attempt(async () => {
  const staged = await stageDirectory(join(folder, 'out'));
  try {
    await writeFileAtomic(join(staged.path, 'big.bin'), new Uint8Array(1 << 20));
    await staged.commit();
  } catch (error) {
    await staged.discard();
    throw error;
  }
});
console.log(JSON.stringify({ said, left: readdirSync(folder), content: readFileSync(file, 'utf8') }));
