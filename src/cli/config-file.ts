import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { loadConfig } from '../config/load.js';
import type { Override } from '../config/overrides.js';
import { renderConfigHelp } from '../config/reference.js';
import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
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
  return withTemplates(loadConfig(text, file, overrides, { file: dirname(resolve(file)), overrides: process.cwd() }));
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
