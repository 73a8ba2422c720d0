import { readdir, readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { nearest } from '../config/problems.js';
import { ConfigError } from '../errors.js';
import type { TaskSources } from '../eval/tasks/rows.js';
import { parseTasks, type EvalTask } from '../eval/tasks/schema.js';
import { fileSource, isFile } from '../io/node.js';
import type { ByteSource } from '../io/source.js';
import { configsFolder } from './configs-folder.js';
import { asNamed, type Locate } from './data-files.js';

/**
 * The task file of a path, or of the name of one that is included.
 * @throws ConfigError that lists the names.
 */
export async function findTaskFile(given: string): Promise<string> {
  if (await isFile(given)) return given;
  const folder = join(configsFolder(), 'tasks');
  const names = (await readdir(folder))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
  if (names.includes(given)) return join(folder, `${given}.yaml`);
  const meant = nearest(given, names);
  throw new ConfigError(
    `--tasks: ${given}: no such file${meant === undefined ? '' : `; did you mean ${meant}?`} The included task files are ${names.join(', ')}`,
  );
}

/** The tasks of a file, each with at most `limit` items. @throws ConfigError */
export async function readTasks(path: string, { limit }: { readonly limit?: number | undefined }): Promise<EvalTask[]> {
  const tasks = parseTasks(await readFile(path, 'utf8'), path);
  return limit === undefined ? tasks : tasks.map((task) => ({ ...task, limit: Math.min(limit, task.limit ?? limit) }));
}

/** Every data file once. @throws ConfigError listing all that are missing. */
export async function openTaskSources(
  tasks: readonly EvalTask[],
  folder: string,
  locate: Locate = asNamed,
): Promise<{ of(task: EvalTask): TaskSources; close(): Promise<void> }> {
  const opened = new Map<string, ByteSource>();
  const missing: string[] = [];
  const place = (path: string): string => placeOf(path, folder);
  for (const task of tasks) {
    for (const path of filesOf(task)) {
      if (opened.has(path)) continue;
      if (await isFile(locate(place(path)))) opened.set(path, await fileSource(locate(place(path)), place(path)));
      else missing.push(`${task.name}: ${path}: no such file`);
    }
  }
  const close = async (): Promise<void> => {
    for (const source of opened.values()) await source.close();
  };
  if (missing.length > 0) {
    await close();
    throw new ConfigError([...new Set(missing)].join('\n'));
  }
  const get = (path: string): ByteSource => opened.get(path) as ByteSource;
  return {
    of: (task) => ({
      data: [task.data].flat().map(get),
      ...('few_shot' in task && task.few_shot !== undefined ? { fewShot: get(task.few_shot.data) } : {}),
    }),
    close,
  };
}

/** Where the files of tasks are. */
export function taskFiles(tasks: readonly EvalTask[], folder: string): string[] {
  return [...new Set(tasks.flatMap(filesOf))].map((path) => placeOf(path, folder));
}

function placeOf(path: string, folder: string): string {
  return isAbsolute(path) ? path : join(folder, path);
}

function filesOf(task: EvalTask): string[] {
  return [...[task.data].flat(), ...('few_shot' in task && task.few_shot !== undefined ? [task.few_shot.data] : [])];
}
