import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Host } from '../../src/device/device.js';
import { importTensorflow, nodeHost } from '../../src/device/node.js';
import { referencePath } from './references.js';

/** Builds TensorFlow's binding from a local library; its exit status 3 says that this machine cannot. */
const BUILD = referencePath('tools/build-tfjs-node.sh');
const CANNOT = 3;

const PLACE = resolve('node_modules/.cache/tfjs-node');
const PACKAGE = 'node_modules/@tensorflow/tfjs-node';

/** A host whose `tensorflow` is there, or why it is not. */
export type TensorflowHost = { readonly host: Host; readonly missing?: undefined } | { readonly missing: string };

/**
 * TensorFlow's binding, built at first use into a folder of its own: in the project's node_modules `auto` would find
 * it. It works on the project's copy of tfjs, since it registers its backend with the copy that it imports.
 */
export async function tensorflowHost(): Promise<TensorflowHost> {
  const entry = join(PLACE, PACKAGE, 'dist/index.js');
  if (!existsSync(entry)) {
    if (!existsSync(BUILD)) return { missing: 'no TensorFlow library beside this checkout' };
    const reason = await build();
    if (reason !== undefined) return { missing: reason };
  }
  return { host: { ...nodeHost, tensorflow: () => importTensorflow(pathToFileURL(entry).href) } };
}

/** @returns why it cannot be built here */
async function build(): Promise<string | undefined> {
  await mkdir(dirname(PLACE), { recursive: true });
  // Aside, then moved: test files run side by side, and one that is ended half-way must not leave half a build.
  const aside = await mkdtemp(`${PLACE}-`);
  try {
    const { status, output } = await run(BUILD, [join(aside, 'node_modules')]);
    if (status === CANNOT) return output.trim().split('\n').at(-1) ?? '';
    if (status !== 0) throw new Error(`TensorFlow's binding does not build:\n${output}`);
    await useProjectCopies(join(aside, dirname(PACKAGE)));
    await rename(aside, PLACE).catch((error: unknown) => {
      if (!existsSync(PLACE)) throw error;
    });
    return undefined;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

async function useProjectCopies(scope: string): Promise<void> {
  for (const name of await readdir(scope)) {
    const own = resolve('node_modules/@tensorflow', name);
    if (!existsSync(own)) continue;
    await rm(join(scope, name), { recursive: true });
    await symlink(own, join(scope, name));
  }
}

function run(command: string, args: readonly string[]): Promise<{ status: number; output: string }> {
  return new Promise((done, fail) => {
    execFile(command, args, (error, stdout, stderr) => {
      const output = stdout + stderr;
      if (error === null) done({ status: 0, output });
      else if (typeof error.code === 'number') done({ status: error.code, output });
      else fail(new Error(`${command} does not run: ${error.message}`, { cause: error }));
    });
  });
}
