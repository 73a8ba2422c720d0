import { parquetReadObjects, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { ByteRange, GroupSize } from './parquet-limits.js';

export type DecodedRow = Record<string, unknown>;

/** A row group to decode: its bytes, and the rows of the file that it has. */
export interface GroupBytes extends GroupSize {
  readonly metadata: FileMetaData;
  readonly buffer: ArrayBuffer;
  readonly rowStart: number;
  readonly rowEnd: number;
}

/** Time that the watchdog gives, and what it gives more for each byte that is decompressed. */
const [BASE_MS, BYTES_PER_MS] = [3000, 4096];
/** Memory that it gives, in MiB, and how many bytes for each that is decompressed and for each value. */
const [BASE_MIB, PER_DECOMPRESSED, PER_VALUE] = [192, 6, 64];
/** A thread that has had nothing to do for so long ends. */
const IDLE_MS = 2000;

/** `node:worker_threads`, as far as it is used here. */
interface Thread {
  on(event: 'message' | 'error' | 'exit', listener: (value: unknown) => void): void;
  postMessage(value: unknown, transfer: readonly ArrayBuffer[]): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<unknown>;
}

/** Runs in the thread; the modules are named by their paths. */
const SCRIPT = `
const { parentPort, workerData } = require('node:worker_threads');
const loaded = Promise.all(workerData.modules.map((module) => import(module)));
parentPort.on('message', async ({ start, buffer, ...options }) => {
  try {
    const [{ parquetReadObjects }, { compressors }] = await loaded;
    const file = { byteLength: workerData.size, slice: (from, to) => buffer.slice(from - start, to - start) };
    parentPort.postMessage({ rows: await parquetReadObjects({ ...options, file, compressors }) });
  } catch (error) {
    parentPort.postMessage({ problem: String(error?.message ?? error) });
  }
});`;

/**
 * Decodes row groups of one file. The decoder trusts its input: a few bytes make it loop for ever, or fill the memory
 * with one run of 2^30 equal values. Node therefore has it in a thread that is ended when it takes too long or too much
 * memory. In a browser it runs where it is called, behind the checks of page headers alone.
 */
export class GroupDecoder {
  private thread: Thread | undefined;
  private idle: ReturnType<typeof setTimeout> | undefined;
  private threadMib = 0;
  /** Groups are decoded one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  /** @param fileBytes size of the file. */
  constructor(private readonly fileBytes: number) {}

  /** @throws Error saying why it cannot be decoded. */
  decode(group: GroupBytes): Promise<DecodedRow[]> {
    const decoded = this.last.then(() => this.decodeNow(group));
    this.last = decoded.catch(() => undefined);
    return decoded;
  }

  private async decodeNow({
    range,
    buffer,
    metadata,
    rowStart,
    rowEnd,
    bytes,
    values,
  }: GroupBytes): Promise<DecodedRow[]> {
    const mib = BASE_MIB + Math.ceil((PER_DECOMPRESSED * bytes + PER_VALUE * values) / 2 ** 20);
    const thread = this.threadOf(mib);
    if (thread === undefined)
      return parquetReadObjects({
        file: within(range, buffer, this.fileBytes),
        metadata,
        compressors,
        rowStart,
        rowEnd,
      });
    const limit = BASE_MS + Math.ceil(bytes / BYTES_PER_MS);
    const answer = await this.ask(thread, { start: range.start, buffer, metadata, rowStart, rowEnd }, limit, mib);
    if (answer.problem !== undefined) throw new Error(answer.problem);
    return answer.rows ?? [];
  }

  private async ask(
    thread: Thread,
    request: { readonly buffer: ArrayBuffer } & Record<string, unknown>,
    limit: number,
    mib: number,
  ): Promise<{ rows?: DecodedRow[]; problem?: string }> {
    let late: ReturnType<typeof setTimeout> | undefined;
    const end = (): void => {
      this.thread = undefined;
      void thread.terminate();
    };
    clearTimeout(this.idle);
    thread.ref();
    try {
      return await new Promise((resolve) => {
        thread.on('message', (message) => resolve(message as { rows?: DecodedRow[]; problem?: string }));
        thread.on('error', (error) => {
          end();
          const full = (error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY';
          resolve({
            problem: full ? `a row group needs more than ${mib} MiB of memory` : String((error as Error).message),
          });
        });
        thread.on('exit', () => resolve({ problem: 'the thread that decodes it has ended' }));
        // The second wait: an answer that came while this thread was busy is read first.
        late = setTimeout(() => {
          late = setTimeout(() => {
            end();
            resolve({ problem: `a row group took more than ${limit / 1000} s to decode` });
          }, 100);
        }, limit);
        thread.postMessage(request, [request.buffer]);
      });
    } finally {
      clearTimeout(late);
      thread.unref();
      this.idle = setTimeout(() => {
        if (this.thread === thread) end();
      }, IDLE_MS);
      (this.idle as { unref?: () => void }).unref?.();
    }
  }

  /** Undefined where there are no threads of Node, or the decoder's files are not beside this one (a bundle). */
  private threadOf(mib: number): Thread | undefined {
    if (this.thread !== undefined && mib > this.threadMib) {
      void this.thread.terminate();
      this.thread = undefined;
    }
    this.thread ??= startThread(this.fileBytes, mib);
    this.threadMib = mib;
    return this.thread;
  }
}

function startThread(size: number, mib: number): Thread | undefined {
  const { process } = globalThis as { readonly process?: { getBuiltinModule?: (name: string) => unknown } };
  // Not imported: this file runs in browsers too.
  const threads = process?.getBuiltinModule?.('node:worker_threads') as
    { readonly Worker: new (script: string, options: object) => Thread } | undefined;
  const module = process?.getBuiltinModule?.('node:module') as
    { createRequire(from: string): { resolve(name: string): string } } | undefined;
  const url = process?.getBuiltinModule?.('node:url') as { pathToFileURL(path: string): URL } | undefined;
  if (threads === undefined || module === undefined || url === undefined) return undefined;
  let modules: string[];
  try {
    const require = module.createRequire(import.meta.url);
    modules = ['hyparquet', 'hyparquet-compressors'].map((name) => url.pathToFileURL(require.resolve(name)).href);
  } catch {
    return undefined;
  }
  const thread = new threads.Worker(SCRIPT, {
    eval: true,
    workerData: { modules, size },
    resourceLimits: { maxOldGenerationSizeMb: mib },
    execArgv: [],
    stdout: true,
    stderr: true,
  });
  // An error that nobody waits for ends the thread, not the process.
  thread.on('error', () => undefined);
  thread.unref();
  return thread;
}

function within(range: ByteRange, buffer: ArrayBuffer, byteLength: number): AsyncBuffer {
  return { byteLength, slice: (start, end = byteLength) => buffer.slice(start - range.start, end - range.start) };
}
