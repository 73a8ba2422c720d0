import { readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { hubDataset } from '../../config/paths.js';
import { ConfigError } from '../../errors.js';
import { parseTasks } from '../../eval/tasks/schema.js';
import { isDirectory } from '../../io/node.js';
import { entriesOf, type Locate } from '../data-files.js';
import { taskFiles } from '../task-files.js';
import type { RunJob } from './job.js';

interface NamedPath {
  readonly option: string;
  readonly path: string;
}

/** Which local files a worker reads for others: those in some folders, links followed; all where none are given. */
export class AllowedFolders {
  private constructor(
    private readonly given: readonly string[] | undefined,
    private readonly roots: readonly string[],
  ) {}

  static async of(folders: readonly string[] | undefined): Promise<AllowedFolders> {
    return new AllowedFolders(folders, await Promise.all((folders ?? []).map(realPath)));
  }

  async allows(path: string): Promise<boolean> {
    if (this.given === undefined) return true;
    const real = await realPath(path);
    return this.roots.some((root) => real === root || real.startsWith(root.endsWith(sep) ? root : `${root}${sep}`));
  }

  /**
   * Checks every path that a run reads. `training.output_dir` and `training.logging_dir` are none: a run of a queue
   * writes to Redis alone.
   * @param locate where the files are that came with the job.
   * @throws ConfigError listing those outside of the folders.
   */
  async require(job: RunJob, locate: Locate): Promise<void> {
    if (this.given === undefined) return;
    const outside: string[] = [];
    for (const { option, path } of [...pathsOf(job), ...(await pathsOfTasks(job, locate))]) {
      // What came with the job is a copy of this process.
      if (locate(path) !== path || (isHubName(path) && !(await isDirectory(path)))) continue;
      if (!(await this.allows(path))) outside.push(`${option}: ${path}`);
    }
    if (outside.length > 0)
      throw new ConfigError(
        `this worker reads nothing outside of ${this.given.join(', ')} (--folders):\n${outside.join('\n')}`,
      );
  }
}

/** The options of a job that may name local files and folders. */
function pathsOf({ run, evaluation }: RunJob): NamedPath[] {
  const { model, adapter, data } = run.config;
  const rows = {
    'data.train': data.train,
    'data.validation': data.validation,
    'data.test': data.test,
    retain: evaluation.retain,
  };
  const named = [
    { option: 'model', path: model },
    { option: 'adapter.init_from', path: adapter.init_from },
    ...Object.entries(rows).flatMap(([option, value]) =>
      entriesOf(value).map(({ path }) => ({ option, path: hubDataset(path) ?? path })),
    ),
    { option: 'tasks', path: evaluation.tasks },
    { option: 'tasks_data', path: evaluation.tasksData },
  ];
  return named.flatMap(({ option, path }) => (path === undefined ? [] : [{ option, path }]));
}

/** The rows of tasks, and the models that score them. */
async function pathsOfTasks({ evaluation: { tasks: file, tasksData } }: RunJob, locate: Locate): Promise<NamedPath[]> {
  if (file === undefined) return [];
  const tasks = parseTasks(await readFile(locate(file), 'utf8'), file);
  const scorers = tasks.flatMap((task) =>
    task.type === 'generate'
      ? task.metrics.flatMap((metric) =>
          typeof metric === 'object' && metric.name === 'bertscore' ? [metric.model] : [],
        )
      : [],
  );
  return [...taskFiles(tasks, tasksData ?? dirname(file)), ...scorers].map((path) => ({ option: 'tasks', path }));
}

/** `name` or `org/name` with or without a revision. */
function isHubName(path: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)?(?:@[\w./-]+)?$/.test(path);
}

/** Without links, as far up as it exists. */
async function realPath(path: string): Promise<string> {
  const full = resolve(path);
  try {
    return await realpath(full);
  } catch {
    return dirname(full) === full ? full : join(await realPath(dirname(full)), basename(full));
  }
}
