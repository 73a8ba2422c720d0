import { existsSync, readFileSync } from 'node:fs';
import { Command } from 'commander';

/** Adds a verb to the program. */
export type RegisterVerb = (program: Command) => void;

/** The `lowrank` command with its verbs. Errors are thrown instead of ending the process. */
export function createProgram(verbs: readonly RegisterVerb[]): Command {
  const program = new Command('lowrank')
    .description('LoRA and QLoRA fine-tuning of small language models')
    .version(packageVersion())
    .option('--debug', 'show the stack of an error (also LOWRANK_DEBUG=1)')
    // Before the verbs are added: they inherit these settings.
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`lowrank: ${text.replace(/^error: /, '')}`) })
    .showHelpAfterError('(--help shows the usage)');
  for (const register of verbs) register(program);
  return program;
}

/** The version in package.json, which lies further up from the build than it does from the sources. */
export function packageVersion(): string {
  let folder = new URL('.', import.meta.url);
  for (;;) {
    const file = new URL('package.json', folder);
    if (existsSync(file)) {
      const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
      if (name === 'lowrank' && version !== undefined) return version;
    }
    const parent = new URL('..', folder);
    if (parent.href === folder.href) return 'unknown';
    folder = parent;
  }
}
