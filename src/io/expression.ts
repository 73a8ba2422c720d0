import { RE2JS } from 're2js';
import { ConfigError } from '../errors.js';
import { mayBacktrack } from './backtracking.js';
import { canLimitTime, withinTime } from './time-limit.js';

/** A regular expression that came with a file. */
export interface Expression {
  /** Whether it matches all of a text. */
  matches(text: string): boolean;
  /** The first group of its first match in a text. */
  firstGroup(text: string): string | undefined;
}

/** Longer texts are not matched: what is matched are names of modules and files. */
const LONGEST_TEXT = 4096;
const MATCH_MS = 1000;

/**
 * Compiles an expression of Python's syntax, as PEFT's settings have it. It comes from downloads and may be built to
 * backtrack without end, `(a+)+$` say: RE2 matches in time linear in the text, whatever the expression, and reads
 * Python's spelling (`(?P<name>…)`, `(?i)`, `\A`) besides. What it has no automaton for, looking ahead and
 * back-references, is left to the native engine, under a limit of time; a browser has no such limit, so what might
 * need it is refused there.
 * @param option whose value it is, for messages.
 * @throws ConfigError when it is none, or would need a limit of time where there is none.
 */
export function compileExpression(source: string, option: string): Expression {
  // Python's `\Z` is the end of the text; elsewhere it means something else, or nothing.
  const respelled = (end: string): string => source.replace(/\\[\s\S]/g, (escape) => (escape === '\\Z' ? end : escape));
  try {
    const linear = RE2JS.compile(respelled('\\z'));
    return {
      matches: (text) => text.length <= LONGEST_TEXT && linear.matcher(text).matches(),
      firstGroup: (text) => {
        const matcher = linear.matcher(text.slice(0, LONGEST_TEXT));
        return matcher.find() ? (matcher.group(1) ?? undefined) : undefined;
      },
    };
  } catch (refused) {
    let whole: RegExp;
    let anywhere: RegExp;
    try {
      anywhere = new RegExp(respelled('$').replaceAll('(?P<', '(?<'));
      whole = new RegExp(`^(?:${anywhere.source})$`);
    } catch {
      throw new ConfigError(
        `${option}: ${JSON.stringify(source)} is no regular expression: ${refused instanceof Error ? refused.message : String(refused)}`,
      );
    }
    if (mayBacktrack(source) && !canLimitTime())
      throw new ConfigError(
        `${option}: ${JSON.stringify(source)} could take exponential time, and nothing can interrupt it in a browser: write it without look-around and back-references, or without repeats within repeats`,
      );
    const tooSlow = (): ConfigError =>
      new ConfigError(
        `${option}: ${JSON.stringify(source)} took more than ${MATCH_MS} ms for one name: write it without repeats within repeats`,
      );
    const limited = <T>(work: () => T): T => withinTime(MATCH_MS, work, tooSlow);
    return {
      matches: (text) => text.length <= LONGEST_TEXT && limited(() => whole.test(text)),
      firstGroup: (text) => limited(() => anywhere.exec(text.slice(0, LONGEST_TEXT))?.[1]),
    };
  }
}
