import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError } from '../../errors.js';
import { isDirectory, localDirectory, writeFileAtomic } from '../../node.js';
import { makeReport } from '../../report/report.js';
import { loadTokenizer } from '../../tokenizer/tokenizer.js';
import { requireWritable } from '../../workspace/writable.js';
import { printExact } from '../view/terminal.js';

/** What commander gives the action. */
export interface ReportFlags {
  readonly output?: string;
}

/** Writes report.html, .md, .csv, .json and plots/, and prints the path of the first. */
export async function runReport(folder: string, { output = folder }: ReportFlags): Promise<void> {
  if (!(await isDirectory(folder))) throw new ConfigError(`${folder}: no such folder`);
  await requireWritable({ path: output, option: '--output', given: output });
  const directory = localDirectory(folder);
  // An ablation has one in the folder of each run.
  const [path] = (await directory.list()).filter((file) => basename(file) === 'tokenizer.json');
  const tokenizer = path === undefined ? undefined : await loadTokenizer(localDirectory(join(folder, dirname(path))));
  const files = await makeReport(
    directory,
    tokenizer === undefined ? {} : { decode: (ids) => tokenizer.decode([...ids]) },
  );
  for (const [name, content] of Object.entries(files)) await writeFileAtomic(join(output, name), content);
  printExact(`${resolve(output, 'report.html')}\n`);
}
