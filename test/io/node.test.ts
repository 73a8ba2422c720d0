import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, FormatError, LowrankError } from '../../src/errors.js';
import { readText } from '../../src/io/directory.js';
import { fileSource, localDirectory, stageDirectory, writeError, writeFileAtomic } from '../../src/io/node.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-io-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('fileSource', () => {
  it('reads ranges and refuses what lies outside', async () => {
    const path = join(folder, 'a');
    await writeFile(path, 'abcdef');
    const source = await fileSource(path);
    expect(source.size).toBe(6);
    expect(new TextDecoder().decode(await source.read(2, 3))).toBe('cde');
    expect(await source.read(6, 0)).toHaveLength(0);
    for (const [offset, length] of [
      [4, 3],
      [-1, 2],
      [0, 2 ** 60],
      [0.5, 1],
    ] as const) {
      await expect(source.read(offset, length)).rejects.toThrow(FormatError);
    }
    await truncate(path, 3);
    await expect(source.read(0, 6)).rejects.toThrow(/found only 3: the file was cut/);
    await source.close();
  });
});

describe('localDirectory', () => {
  it('lists files below, through links, without hidden ones', async () => {
    await mkdir(join(folder, 'sub'));
    await writeFile(join(folder, 'b.txt'), 'text');
    await writeFile(join(folder, 'sub/a.txt'), '');
    await writeFile(join(folder, '.hidden'), '');
    await symlink(join(folder, 'b.txt'), join(folder, 'link.txt'));
    await symlink(join(folder, 'none'), join(folder, 'dangling'));
    await symlink(folder, join(folder, 'ring'));
    const directory = localDirectory(folder);
    expect(await directory.list()).toEqual(['b.txt', 'link.txt', 'sub/a.txt']);
    expect(await readText(directory, 'link.txt')).toBe('text');
    expect(await directory.open('sub')).toBeUndefined();
    expect(await directory.open('b.txt/c')).toBeUndefined();
    await expect(directory.open('../x')).rejects.toThrow(FormatError);
    expect(await localDirectory(join(folder, 'none')).list()).toEqual([]);
  });
});

describe('writeFileAtomic', () => {
  it('writes text, bytes and parts, and makes folders', async () => {
    const path = join(folder, 'x/y/file');
    await writeFileAtomic(path, 'one');
    await writeFileAtomic(path, [Uint8Array.of(0x61), Uint8Array.of(0x62)]);
    expect(await readFile(path, 'utf8')).toBe('ab');
    expect(await readdir(join(folder, 'x/y'))).toEqual(['file']);
  });

  it('keeps the old file, and nothing else, when the content breaks off', async () => {
    const path = join(folder, 'file');
    await writeFile(path, 'old');
    const parts = async function* () {
      yield Uint8Array.of(1);
      throw new Error('broke off');
    };
    await expect(writeFileAtomic(path, parts())).rejects.toThrow('broke off');
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['file']);
  });
});

describe('stageDirectory', () => {
  it('shows nothing before commit, then replaces the folder as a whole', async () => {
    const path = join(folder, 'out');
    await mkdir(path);
    await writeFile(join(path, 'old'), '');
    const staged = await stageDirectory(path);
    await writeFileAtomic(join(staged.path, 'sub/new'), '');
    expect(await readdir(path)).toEqual(['old']);
    await staged.commit();
    expect(await readdir(path)).toEqual(['sub']);
    expect(await readdir(folder)).toEqual(['out']);
  });

  it('leaves everything as it was on discard', async () => {
    const path = join(folder, 'deep/out');
    const staged = await stageDirectory(path);
    await writeFile(join(staged.path, 'new'), '');
    await staged.discard();
    expect(await readdir(join(folder, 'deep'))).toEqual([]);
  });

  it('puts back a folder that a crash caught between the renames of a commit', async () => {
    await mkdir(join(folder, '.out.0123456789ab.old'));
    await writeFile(join(folder, '.out.0123456789ab.old/kept'), '');
    const staged = await stageDirectory(join(folder, 'out'));
    expect(await readdir(join(folder, 'out'))).toEqual(['kept']);
    await staged.discard();
  });

  it('refuses a file', async () => {
    await writeFile(join(folder, 'out'), '');
    await expect(stageDirectory(join(folder, 'out'))).rejects.toThrow(ConfigError);
    expect((await stat(join(folder, 'out'))).isFile()).toBe(true);
  });
});

describe('a full disk', () => {
  it.skipIf(!existsSync('/dev/full'))('is one clear sentence', async () => {
    const error = await writeFile('/dev/full', 'x').catch((caught: unknown) => caught);
    expect(writeError(error, 'out/weights')).toBeInstanceOf(LowrankError);
    expect(String(writeError(error, 'out/weights'))).toContain(
      'out/weights: no space left on the disk; nothing was changed',
    );
    const large = Object.assign(new Error('EFBIG'), { code: 'EFBIG' });
    expect(String(writeError(large, 'out/weights'))).toContain(
      'out/weights: larger than the system lets a file be (ulimit -f); nothing was changed',
    );
    const other = new Error('other');
    expect(writeError(other, 'x')).toBe(other);
  });

  const mount = ['-Urm', 'sh', '-c'];
  const canMount = spawnSync('unshare', [...mount, 'mount -t tmpfs -o size=64k none /mnt']).status === 0;
  it.skipIf(!canMount)(
    'leaves the old file and no half-written one',
    () => {
      const runner = `"${process.execPath}" "${resolve('node_modules/vite-node/vite-node.mjs')}" "${resolve('test/io/full-disk.ts')}" /mnt`;
      const printed = execFileSync('unshare', [...mount, `mount -t tmpfs -o size=64k none /mnt && ${runner}`], {
        encoding: 'utf8',
      });
      const { said, left, content } = JSON.parse(printed.trim().split('\n').at(-1) as string) as {
        said: string[];
        left: string[];
        content: string;
      };
      expect(said[0]).toBe('LowrankError: /mnt/weights.bin: no space left on the disk; nothing was changed');
      expect(said[1]).toMatch(/no space left on the disk/);
      expect(left).toEqual(['weights.bin']);
      expect(content).toBe('before');
    },
    30_000,
  );
});
