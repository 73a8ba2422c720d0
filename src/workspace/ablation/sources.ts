import type { RunSources } from '../../ablation/request.js';
import type { AblationRun } from '../../ablation/runs.js';
import type { Directory } from '../../io/directory.js';
import { openDirectory } from '../../io/open-directory.js';
import { openRunData, type Locate } from '../data-files.js';

/**
 * Models and data of runs, each opened once.
 * @param onMessage receives what is worth knowing of the files and downloads
 */
export function openSources(onMessage: (message: string) => void): {
  of(run: AblationRun, locate?: Locate): Promise<RunSources>;
  close(): Promise<void>;
} {
  const directories = new Map<string, Promise<Directory>>();
  const data = new Map<string, ReturnType<typeof openRunData>>();
  const directory = (name: string, revision?: string): Promise<Directory> => {
    const key = JSON.stringify([name, revision]);
    const opened = directories.get(key) ?? openDirectory(name, { revision, onMessage });
    directories.set(key, opened);
    return opened;
  };
  return {
    async of({ config }, locate) {
      const { train, validation, test } = config.data;
      const key = JSON.stringify([train, validation, test]);
      const files = data.get(key) ?? openRunData(config, { locate, onMessage });
      data.set(key, files);
      const { init_from: initFrom } = config.adapter;
      return {
        model: await directory(config.model, config.model_revision),
        data: (await files).data,
        ...(initFrom === undefined ? {} : { initFrom: await directory(initFrom) }),
      };
    },
    async close() {
      for (const files of data.values()) await (await files.catch(() => undefined))?.close();
    },
  };
}
