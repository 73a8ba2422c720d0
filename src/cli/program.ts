import { Command } from 'commander';
import { VERSION } from '../version.js';
import { printError } from './view/terminal.js';

/** Adds a verb to the program. */
export type RegisterVerb = (program: Command) => void;

/** The `lowrank` command with its verbs. Errors are thrown instead of ending the process. */
export function createProgram(verbs: readonly RegisterVerb[]): Command {
  const program = new Command('lowrank')
    .description('LoRA and QLoRA fine-tuning of small language models')
    .version(VERSION)
    .option('--debug', 'show the stack of an error (also LOWRANK_DEBUG=1)')
    // Before the verbs are added: they inherit these settings.
    .exitOverride()
    .configureOutput({
      writeErr: printError,
      outputError: (text, write) => write(`lowrank: ${text.replace(/^error: /, '')}`),
    })
    .showHelpAfterError('(--help shows the usage)');
  for (const register of verbs) register(program);
  return program;
}
