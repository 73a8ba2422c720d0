import { constants } from 'node:os';
import { CommanderError, type Command } from 'commander';
import { LowrankError } from '../errors.js';
import { printError } from './view/terminal.js';

/** sysexits(3): a mistake in this program, not in what it was given. */
const EXIT_UNEXPECTED = 70;
const EXIT_USAGE = 2;
/** That of a process which SIGPIPE has ended, as a shell has it. */
const EXIT_CLOSED_PIPE = 128 + constants.signals.SIGPIPE;

/** How long a finished command may keep the process alive (a device that was not let go) before it is ended. */
const LINGER_MS = 3000;

export interface ErrorOutput {
  readonly debug: boolean;
  write(text: string): void;
}

/** Tells an error in one line (a list of problems takes more) and returns the exit status that belongs to it. */
export function reportError(error: unknown, output: ErrorOutput): number {
  // Commander has written its own message by now.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const expected = error instanceof LowrankError;
  const message = error instanceof Error ? error.message : String(error);
  if (expected) {
    output.write(`lowrank: ${message}\n`);
  } else {
    const kind = error instanceof Error && error.name !== 'Error' ? `${error.name}: ` : '';
    const hint = output.debug ? '' : ' (--debug shows where)';
    output.write(`lowrank: unexpected error: ${kind}${message}${hint}\n`);
  }
  if (output.debug) output.write(`${describeStack(error)}\n`);
  return expected ? error.exitCode : EXIT_UNEXPECTED;
}

/** Runs the program on the arguments after its name and returns the exit status; never throws. */
export async function runProgram(
  program: Command,
  args: readonly string[],
  write: (text: string) => void = printError,
): Promise<number> {
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    return reportError(error, { debug: wantsDebug(args), write });
  }
}

/** The whole process: a closed pipe ends it quietly, stray errors are told like all others. */
export async function runProcess(program: Command): Promise<void> {
  const args = process.argv.slice(2);
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // The reader has gone, as in `lowrank … | head`: nobody is left to write for.
      // The terminal has been closed: SIGHUP says so too, and what goes on may still save its work.
      if (error.code === 'EIO') return;
      if (error.code === 'EPIPE') process.exit(Number(process.exitCode ?? 0) || EXIT_CLOSED_PIPE);
      throw error;
    });
  }
  const fail = (error: unknown): void => {
    process.exit(reportError(error, { debug: wantsDebug(args), write: printError }));
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  const status = await runProgram(program, args);
  process.exitCode = status;
  setTimeout(() => process.exit(status), LINGER_MS).unref();
}

/** Whether `--debug` or LOWRANK_DEBUG asks for what is of no use to most. */
export function wantsDebug(args: readonly string[]): boolean {
  const variable = process.env['LOWRANK_DEBUG'] ?? '';
  return args.includes('--debug') || (variable !== '' && variable !== '0');
}

function describeStack(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\ncaused by: ${describeStack(error.cause)}`;
}
