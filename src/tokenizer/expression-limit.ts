import { DataError, FormatError, LowrankError } from '../errors.js';
import { mayBacktrack } from '../io/backtracking.js';
import { isRecord } from '../io/json.js';
import { canLimitTime, withinTime } from '../io/time-limit.js';
import type { TokenizerJson } from './tokenizer-json.js';

/**
 * Texts from here on have a limit whatever the expressions: what is quadratic in a line without breaks shows only
 * there.
 */
const LONG_TEXT = 2 ** 14;
const BASE_MS = 3000;
/** Beyond that; the library is a hundred times faster. */
const CHARACTERS_PER_MS = 4;

/**
 * Runs the library on a text under a limit of time, where the expressions of a tokenizer.json could need more than
 * linear time (see mayBacktrack). Those that are in use do not, and pay nothing. A browser has no limit of time: there
 * such a tokenizer.json is refused.
 */
export class ExpressionLimit {
  private readonly suspect: string | undefined;

  /**
   * @param file for messages.
   * @throws FormatError for an expression that needs a limit, where there is none.
   */
  constructor(
    json: TokenizerJson,
    private readonly file: string,
  ) {
    this.suspect = expressionsOf([
      json['normalizer'],
      json['pre_tokenizer'],
      json['post_processor'],
      json['decoder'],
    ]).find(mayBacktrack);
    if (this.suspect !== undefined && !canLimitTime())
      throw new FormatError(
        `${file}: its expression ${JSON.stringify(this.suspect)} could take exponential time, and nothing can interrupt it in a browser: use the tokenizer.json of the model's publisher`,
      );
  }

  /**
   * @throws DataError when the limit is passed; FormatError when the library fails, as it does on settings that are of
   * the wrong type.
   */
  run<T>(characters: number, work: () => T): T {
    try {
      return this.runLimited(characters, work);
    } catch (error) {
      if (error instanceof LowrankError) throw error;
      throw new FormatError(
        `${this.file}: a setting is of a wrong type or missing: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
    }
  }

  private runLimited<T>(characters: number, work: () => T): T {
    if (this.suspect === undefined && characters < LONG_TEXT) return work();
    const limit = BASE_MS + Math.ceil(characters / CHARACTERS_PER_MS);
    return withinTime(limit, work, () => {
      const reason =
        this.suspect === undefined
          ? 'is the text one line without a break?'
          : `its expression ${JSON.stringify(this.suspect)} repeats what repeats, which can take exponential time: use the tokenizer.json of the model's publisher`;
      return new DataError(`${this.file}: ${characters} characters took more than ${limit / 1000} s: ${reason}`);
    });
  }
}

/** Every `Regex` of some sections of a tokenizer.json. */
function expressionsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(expressionsOf);
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'Regex' && typeof inner === 'string' ? [inner] : expressionsOf(inner),
  );
}
