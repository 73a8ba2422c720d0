import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { loadConfig } from '../config/load.js';
import type { Override } from '../config/overrides.js';
import { renderConfigHelp } from '../config/reference.js';
import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import { isDirectory } from '../io/node.js';
import { withTemplates } from '../workspace/chat-template-files.js';

/** What commander gives the action of a command made by `takesConfig`, after the config's file name. */
export interface ConfigFlags {
  readonly set: readonly string[];
}

/** Lets a command take `<config>` and `--set option=value`, with every option of the schema in its help. */
export function takesConfig(command: Command, argument: '<config>' | '[config]' = '<config>'): Command {
  return command
    .argument(argument, 'YAML or JSON file that describes the run')
    .option('--set <option=value>', 'replace an option of the config (repeatable)', collect, [])
    .addHelpText('after', renderConfigHelp);
}

/** A config of options of the command line alone. @throws ConfigError naming what is missing or wrong. */
export async function configOfOptions(overrides: readonly (string | Override)[]): Promise<RunConfig> {
  return withTemplates(loadConfig('{}', 'the command line', overrides, { overrides: process.cwd() }));
}

/**
 * Reads a config file. Paths come out absolute, so the config means the same when it is read from elsewhere.
 * @throws ConfigError when the file cannot be read or has problems.
 */
export async function readConfig(file: string, overrides: readonly (string | Override)[] = []): Promise<RunConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/, .*$/, '') : String(error);
    throw new ConfigError(`cannot read the config ${file}: ${reason}`, { cause: error });
  }
  const folder = dirname(resolve(file));
  const config = loadConfig(text, file, overrides, { file: folder, overrides: process.cwd() });
  const given = overrides.some((override) =>
    typeof override === 'string' ? override.startsWith('model=') : override.path.join('.') === 'model',
  );
  if (!given) await checkMeantFolder(config.model, file, folder);
  return withTemplates(config);
}

/**
 * @throws ConfigError for a model that reads as an id of the Hub while a folder of that name is beside the config, and
 * none where the command runs.
 */
async function checkMeantFolder(model: string, file: string, folder: string): Promise<void> {
  if (
    /^(?:[./~\\]|[A-Za-z]:[\\/])/.test(model) ||
    (await isDirectory(model)) ||
    !(await isDirectory(join(folder, model)))
  )
    return;
  throw new ConfigError(
    `${file}: model: ${JSON.stringify(model)} reads as an id of the Hub, and beside the config there is a folder of that name: write ./${model} for the folder, ${model}@main for the Hub`,
  );
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
