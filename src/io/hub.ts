import { readFile, realpath, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve, sep } from 'node:path';
import {
  datasetInfo,
  downloadFileToCacheDir,
  getHFHubCachePath,
  getRepoFolderName,
  HubApiError,
  listFiles,
  modelInfo,
} from '@huggingface/hub';
import { ConfigError, FormatError, LowrankError } from '../errors.js';
import { CHECKPOINT_FILE, CHECKPOINT_INDEX, parseWeightMap } from './weights-file.js';
import { checkedFetch } from './hub-answers.js';
import { isDirectory, isFile, localDirectory, writeError, writeFileAtomic } from './node.js';

/** How {@link resolveDirectory} reads the Hub. */
export interface ResolveOptions {
  readonly kind?: 'model' | 'dataset';
  /** Default: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  /** Default: HF_ENDPOINT, else the public hub. */
  readonly hubUrl?: string;
  /** Default: HF_HUB_OFFLINE. */
  readonly offline?: boolean;
  /** Default: HF_TOKEN. */
  readonly accessToken?: string;
  /** Gets a line on each file that is downloaded. */
  readonly onMessage?: ((message: string) => void) | undefined;
  /** False leaves the weights of a model out. Default true. */
  readonly weights?: boolean;
  /**
   * Of a data set, the files that are wanted, of those that it has; all data files where absent. May throw where they
   * are not there.
   */
  readonly select?: ((paths: readonly string[]) => readonly string[]) | undefined;
}

interface Repo {
  readonly kind: 'model' | 'dataset';
  readonly name: string;
  readonly revision: string;
}

const COMMIT = /^[0-9a-f]{40}$/;
const REPO_ID = /^([A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)?)(?:@([\w.-]+(?:\/[\w.-]+)*))?$/;
/** Small files of a model: configuration, tokenizer, adapter. Weights are chosen apart. */
const MODEL_FILES = new Set([
  'config.json',
  'generation_config.json',
  'adapter_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.json',
  'chat_template.jinja',
  // What lowrank saves of a run beside its adapter.
  'config.yaml',
  'training_record.json',
]);
const DATASET_FILES = /\.(?:jsonl|json|txt|csv|tsv|parquet)$/;
const ADAPTER_FILE = 'adapter_model.safetensors';

/**
 * The local folder of a model or dataset: a folder that exists wins, everything else is `org/name` or
 * `org/name@revision` in the hub's cache, in the layout that all Hugging Face libraries share. Only the files that
 * training needs are downloaded.
 * @throws ConfigError when there is no such folder, repository or revision, or it is not in the cache while offline.
 * @throws LowrankError when the network fails or the disk is full.
 */
export async function resolveDirectory(pathOrId: string, options: ResolveOptions = {}): Promise<string> {
  const local = pathOrId.startsWith('~/') ? join(homedir(), pathOrId.slice(2)) : pathOrId;
  if (await isDirectory(local)) return resolve(local);
  if (await isFile(local)) throw notAFolder(pathOrId);
  const kind = options.kind ?? 'model';
  const match = REPO_ID.exec(pathOrId);
  const [, name, revision = 'main'] = match ?? [];
  if (name === undefined || /(^|\/)\.\.?(\/|$)/.test(revision)) {
    throw new ConfigError(`${pathOrId}: no such folder, and no ${kind} id (org/name or org/name@revision)`);
  }
  const repo: Repo = { kind, name, revision };
  const root = join(options.cacheDir ?? getHFHubCachePath(), getRepoFolderName({ type: kind, name }));
  const cached = await findSnapshot(root, repo, options);
  if (options.offline ?? isSet(process.env['HF_HUB_OFFLINE'])) {
    if (cached.missing === undefined) return cached.path;
    throw new ConfigError(
      `${pathOrId}: no such folder, and not in the cache: ${cached.missing} is missing. HF_HUB_OFFLINE forbids the download`,
    );
  }
  // A commit never changes: what is whole needs no question to the network.
  if (cached.missing === undefined && COMMIT.test(revision)) return cached.path;
  try {
    return await download(repo, root, options);
  } catch (error) {
    if (!isNetworkError(error)) throw explain(error, pathOrId);
    if (cached.missing === undefined) {
      options.onMessage?.(`${pathOrId}: the hub cannot be reached; taking the copy in the cache, ${cached.path}`);
      return cached.path;
    }
    throw new LowrankError(`${pathOrId}: no such folder, and the hub cannot be reached: ${describe(error)}`, {
      cause: error,
    });
  }
}

async function download(repo: Repo, root: string, options: ResolveOptions): Promise<string> {
  const hubUrl = withoutTrailingSlashes(options.hubUrl ?? process.env['HF_ENDPOINT'] ?? '');
  const accessToken = options.accessToken ?? process.env['HF_TOKEN'];
  const access = { ...(hubUrl ? { hubUrl } : {}), ...(accessToken ? { accessToken } : {}) };
  const query = { name: repo.name, revision: repo.revision, additionalFields: ['sha'] as ['sha'], ...access };
  const { sha } = repo.kind === 'model' ? await modelInfo(query) : await datasetInfo(query);
  if (!COMMIT.test(sha)) throw new FormatError(`${repo.name}: the hub gave ${JSON.stringify(sha)} as commit`);
  const target = { repo: { type: repo.kind, name: repo.name }, revision: sha, ...access };
  const sizes = new Map<string, number>();
  const checked = checkedFetch(repo.name);
  for await (const entry of listFiles({ ...target, recursive: repo.kind === 'dataset', fetch: checked })) {
    if (entry.type === 'file') sizes.set(entry.path, entry.size);
  }
  const fetchFile = async (path: string): Promise<string> => {
    const size = sizes.get(path);
    if (size === undefined) throw new ConfigError(`${repo.name}@${repo.revision}: has no file ${path}`);
    options.onMessage?.(`${repo.name}: ${path} (${size} bytes)`);
    const cacheDir = options.cacheDir ?? getHFHubCachePath();
    const pointer = await quietly(() => downloadFileToCacheDir({ ...target, path, cacheDir, fetch: checked }));
    const found = (await stat(pointer)).size;
    if (found !== size) {
      // The blob behind the link too, or the next run would take it for whole.
      await rm(await realpath(pointer), { force: true });
      await rm(pointer, { force: true });
      throw new LowrankError(`${repo.name}: ${path}: downloaded ${found} bytes of ${size}; run again`);
    }
    return pointer;
  };
  const { select = (paths: readonly string[]) => paths.filter((path) => DATASET_FILES.test(path)) } = options;
  const wanted =
    repo.kind === 'model' ? [...sizes.keys()].filter((path) => MODEL_FILES.has(path)) : select([...sizes.keys()]);
  for (const path of wanted) await fetchFile(path);
  if (repo.kind === 'model' && options.weights !== false) await fetchWeights(repo, sizes, fetchFile);
  const snapshot = join(root, 'snapshots', sha);
  if (!(await isDirectory(snapshot)))
    throw new ConfigError(`${repo.name}@${repo.revision}: has no file this program can read`);
  // The name of the revision comes last: it never points to half a snapshot.
  if (repo.revision !== sha) await writeFileAtomic(join(root, 'refs', repo.revision), sha);
  return snapshot;
}

async function fetchWeights(
  repo: Repo,
  sizes: ReadonlyMap<string, number>,
  fetchFile: (path: string) => Promise<string>,
): Promise<void> {
  if (sizes.has(ADAPTER_FILE)) await fetchFile(ADAPTER_FILE);
  if (sizes.has(CHECKPOINT_FILE)) {
    await fetchFile(CHECKPOINT_FILE);
  } else if (sizes.has(CHECKPOINT_INDEX)) {
    const index = await fetchFile(CHECKPOINT_INDEX);
    const weightMap = parseWeightMap(await readFile(index, 'utf8'), `${repo.name}/${CHECKPOINT_INDEX}`);
    for (const shard of new Set(weightMap.values())) await fetchFile(shard);
  } else if (sizes.has('config.json') && !sizes.has(ADAPTER_FILE)) {
    throw new ConfigError(
      `${repo.name}@${repo.revision}: has no safetensors weights (neither ${CHECKPOINT_FILE} nor ${CHECKPOINT_INDEX})`,
    );
  }
}

/**
 * Files of a snapshot are links to the blobs of their repository; the whole cache, or the folder of the blobs, may be a
 * link to another disk.
 * @throws FormatError for a link to elsewhere: a file that is no one's download.
 */
async function checkLinks(root: string, snapshot: string): Promise<void> {
  const inside = await Promise.all([root, join(root, 'blobs')].map((folder) => realpath(folder).catch(() => folder)));
  for (const file of await localDirectory(snapshot).list()) {
    const target = await realpath(join(snapshot, file));
    if (!inside.some((folder) => target.startsWith(folder + sep))) {
      throw new FormatError(
        `${join(snapshot, file)}: a link out of the cache, to ${target}: remove it, and it is downloaded again`,
      );
    }
  }
}

/** What a file is, where a folder is meant. */
export function notAFolder(path: string): ConfigError {
  if (/\.gguf$/i.test(path))
    return new ConfigError(
      `${path}: a GGUF file is for llama.cpp: give the folder or id of the safetensors model that it was made from`,
    );
  if (/\.(?:bin|pt|pth|ckpt)$/i.test(path))
    return new ConfigError(
      `${path}: a PyTorch pickle, which can run code: convert it to safetensors, and give the folder that holds it`,
    );
  return new ConfigError(`${path}: a file, where a folder is meant: give the folder that holds it`);
}

/** The cached folder of a revision, and the first thing that it lacks. */
async function findSnapshot(
  root: string,
  { kind, revision }: Repo,
  { select, weights = true }: ResolveOptions,
): Promise<{ path: string; missing?: string }> {
  const ref = join(root, 'refs', revision);
  const sha = COMMIT.test(revision) ? revision : (await isFile(ref)) ? (await readFile(ref, 'utf8')).trim() : '';
  const path = join(root, 'snapshots', sha);
  if (!COMMIT.test(sha)) return { path, missing: ref };
  if (!(await isDirectory(path))) return { path, missing: path };
  await checkLinks(root, path);
  const lacking = kind === 'model' ? await lackingModelFile(path, weights) : await lackingDatasetFile(path, select);
  return lacking === undefined ? { path } : { path, missing: join(path, lacking) };
}

async function lackingModelFile(path: string, weights: boolean): Promise<string | undefined> {
  const has = (file: string): Promise<boolean> => isFile(join(path, file));
  if (!weights) return (await has('config.json')) ? undefined : 'config.json';
  if (await has('adapter_config.json')) return (await has(ADAPTER_FILE)) ? undefined : ADAPTER_FILE;
  if (!(await has('config.json'))) return (await has('tokenizer.json')) ? undefined : 'config.json';
  if (await has(CHECKPOINT_FILE)) return undefined;
  if (!(await has(CHECKPOINT_INDEX))) return CHECKPOINT_FILE;
  const index = join(path, CHECKPOINT_INDEX);
  for (const shard of new Set(parseWeightMap(await readFile(index, 'utf8'), index).values())) {
    if (!(await has(shard))) return shard;
  }
  return undefined;
}

async function lackingDatasetFile(path: string, select: ResolveOptions['select']): Promise<string | undefined> {
  const files = await localDirectory(path).list();
  if (select === undefined) return files.some((file) => DATASET_FILES.test(file)) ? undefined : '*.jsonl';
  let chosen: readonly string[];
  try {
    chosen = select(files);
  } catch (error) {
    if (error instanceof ConfigError) return 'what is asked for';
    throw error;
  }
  const shard = missingShard(chosen);
  return shard !== undefined && select([...files, shard]).includes(shard) ? shard : undefined;
}

/**
 * A file of a series `…-00000-of-00005…` that is not among these: the cache may hold a part of what the repository has.
 */
function missingShard(files: readonly string[]): string | undefined {
  const present = new Set(files);
  for (const file of files) {
    const [, head = '', number = '', total = '', tail = ''] = /^(.*-)(\d{5})(-of-\d{5})(.*)$/.exec(file) ?? [];
    for (let i = 0; i < Number(total.slice(4)); i++) {
      const shard = `${head}${String(i).padStart(number.length, '0')}${total}${tail}`;
      if (!present.has(shard)) return shard;
    }
  }
  return undefined;
}

/** The library reports each download with console.debug, which Node sends to stdout, where results are printed. */
async function quietly<T>(work: () => Promise<T>): Promise<T> {
  const { debug } = console;
  console.debug = () => {};
  try {
    return await work();
  } finally {
    console.debug = debug;
  }
}

function explain(error: unknown, pathOrId: string): unknown {
  if (error instanceof HubApiError) {
    const { statusCode } = error;
    if (statusCode === 401 || statusCode === 403) {
      return new ConfigError(
        `${pathOrId}: no such folder, and the hub refuses access (status ${statusCode}): unknown, or closed to HF_TOKEN`,
        { cause: error },
      );
    }
    if (statusCode === 404)
      return new ConfigError(`${pathOrId}: no such folder, and the hub has no such repository or revision`, {
        cause: error,
      });
    return new LowrankError(`${pathOrId}: the hub answered with status ${statusCode}`, { cause: error });
  }
  // The library's own check of the token's form.
  if (error instanceof TypeError && error.message.includes('access token'))
    return new ConfigError(`HF_TOKEN: ${error.message}`);
  if (error instanceof LowrankError) return error;
  const written = writeError(error, pathOrId);
  if (written instanceof LowrankError) return written;
  // Answers that the library cannot read; a download that broke while it was streamed may end in a bare string.
  return new LowrankError(
    `${pathOrId}: the download broke: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error },
  );
}

/** fetch reports every failure to connect, and every connection that broke, as a TypeError with a cause. */
function isNetworkError(error: unknown): boolean {
  return (
    error instanceof TypeError &&
    (error.cause !== undefined || error.message === 'fetch failed' || error.message === 'terminated')
  );
}

function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : String(cause);
}

function withoutTrailingSlashes(url: string): string {
  let end = url.length;
  while (url[end - 1] === '/') end--;
  return url.slice(0, end);
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && ['1', 'true', 'yes', 'on'].includes(value.toLowerCase());
}
