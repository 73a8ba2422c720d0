import { createInterface } from 'node:readline/promises';
import { visibleLine } from '../../text.js';
import { InterruptedError } from '../../workspace/interrupt.js';
import { print } from './terminal.js';

/** Asks a question until `problem` finds nothing wrong with the answer; an empty one takes the proposal. */
export type Ask = (
  question: string,
  proposal: string,
  problem?: (answer: string) => string | undefined,
) => Promise<string>;

export interface Questions {
  /** Whether somebody is there to answer; otherwise every answer is the proposal. */
  readonly answered: boolean;
  readonly ask: Ask;
  close(): void;
}

/** Questions to the terminal, where there is one and `wanted` says so. */
export function openQuestions(wanted: boolean): Questions {
  if (!wanted || !process.stdin.isTTY || !process.stdout.isTTY)
    return { answered: false, ask: (_, proposal) => Promise.resolve(proposal), close: () => undefined };
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const stopped = new AbortController();
  // Ctrl-C, and Ctrl-D or a terminal that is closed.
  for (const event of ['SIGINT', 'close'] as const) terminal.on(event, () => stopped.abort());
  const question = async (text: string): Promise<string> => {
    try {
      return await terminal.question(visibleLine(text), { signal: stopped.signal });
    } catch (error) {
      if (stopped.signal.aborted) throw new InterruptedError('SIGINT', 'stopped at a question: nothing was written');
      throw error;
    }
  };
  return { answered: true, ask: (...asked) => askUntil(question, ...asked), close: () => terminal.close() };
}

async function askUntil(
  question: (text: string) => Promise<string>,
  text: string,
  proposal: string,
  problem: (answer: string) => string | undefined = () => undefined,
): Promise<string> {
  for (;;) {
    const answer = (await question(`${text} [${proposal}]: `)).trim() || proposal;
    const wrong = problem(answer);
    if (wrong === undefined) return answer;
    print(`${answer}: ${wrong}\n`);
  }
}
