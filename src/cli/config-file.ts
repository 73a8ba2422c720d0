import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { loadConfig } from '../config/load.js';
import { isAbsolute } from '../config/paths.js';
import { renderConfigHelp } from '../config/reference.js';
import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';

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

/**
 * Reads a config file. Paths come out absolute, so the config means the same when it is read from elsewhere.
 * @throws ConfigError when the file cannot be read or has problems.
 */
export async function readConfig(file: string, overrides: readonly string[] = []): Promise<RunConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/, .*$/, '') : String(error);
    throw new ConfigError(`cannot read the config ${file}: ${reason}`, { cause: error });
  }
  return withTemplates(loadConfig(text, file, overrides, { file: dirname(resolve(file)), overrides: process.cwd() }));
}

/** Puts the text of chat templates in the place of their files, so that the config says all. */
export async function withTemplates(config: RunConfig): Promise<RunConfig> {
  const read = async <T>(value: T): Promise<T> => {
    if (typeof value !== 'object' || value === null) return value;
    const { chat_template: template } = value as { chat_template?: string };
    if (template === undefined || !isAbsolute(template)) return value;
    try {
      return { ...value, chat_template: await readFile(template, 'utf8') };
    } catch (error) {
      throw new ConfigError(`chat_template: cannot read ${template}`, { cause: error });
    }
  };
  const data = await read(config.data);
  const own = await Promise.all(
    (['train', 'validation', 'test'] as const).map(async (part) => {
      const value = data[part];
      return value === undefined ? [] : [[part, Array.isArray(value) ? await Promise.all(value.map(read)) : await read(value)] as const];
    }),
  );
  return { ...config, data: { ...data, ...(Object.fromEntries(own.flat()) as Pick<RunConfig['data'], 'train' | 'validation' | 'test'>) } };
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
