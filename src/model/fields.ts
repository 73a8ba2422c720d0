import { FormatError } from '../errors.js';
import { isRecord } from '../io/json.js';

/**
 * Largest value that any size of a model may take; nothing real comes near, and products of four stay exact integers.
 */
const MAX_SIZE = 2 ** 24;

/** Reads fields of a JSON object and collects everything that is wrong, so that one error can list it all. */
export class Fields {
  private readonly problems: string[] = [];

  constructor(
    private readonly values: Readonly<Record<string, unknown>>,
    private readonly name: string,
    private readonly prefix = '',
    /** Other names of fields: read, and named in what is wrong, unless only the usual name is there. */
    private readonly spellings: Readonly<Record<string, string>> = {},
  ) {}

  has(key: string): boolean {
    return this.raw(key) !== undefined && this.raw(key) !== null;
  }

  raw(key: string): unknown {
    return this.values[this.spelling(key)];
  }

  /** A size: an integer from 1 to 2^24. */
  size(key: string, fallback?: number): number {
    return this.take(
      key,
      fallback,
      `an integer from 1 to ${MAX_SIZE}`,
      (v) => Number.isInteger(v) && (v as number) >= 1 && (v as number) <= MAX_SIZE,
      1,
    );
  }

  positive(key: string, fallback?: number): number {
    return this.take(key, fallback, 'a number above 0', (v) => typeof v === 'number' && Number.isFinite(v) && v > 0, 1);
  }

  flag(key: string, fallback: boolean): boolean {
    return this.take(key, fallback, 'true or false', (v) => typeof v === 'boolean', fallback);
  }

  oneOf<const T extends string>(key: string, allowed: readonly T[], fallback?: T): T {
    return this.take(key, fallback, `one of ${allowed.join(', ')}`, (v) => allowed.includes(v as T), allowed[0] as T);
  }

  text(key: string, fallback?: string): string {
    return this.take(key, fallback, 'a text', (v) => typeof v === 'string', '');
  }

  /** Notes a problem when the field is there with another value. */
  fixed(key: string, value: boolean): void {
    if (this.has(key) && this.raw(key) !== value)
      this.problem(key, this.raw(key), `only ${value}: nothing else is implemented`);
  }

  /** A token id, several, or none. */
  ids(key: string): number[] {
    const value = this.raw(key);
    const list = value === undefined || value === null ? [] : Array.isArray(value) ? (value as unknown[]) : [value];
    if (!list.every((v) => Number.isInteger(v) && (v as number) >= 0))
      this.problem(key, value, 'a token id, a list of token ids or null');
    return list.filter((v): v is number => Number.isInteger(v));
  }

  /** A nested object, empty when absent. Its problems are listed with this one's. */
  section(key: string): Fields {
    const value = this.raw(key);
    if (this.has(key) && !isRecord(value)) this.problem(key, value, 'an object');
    const section = new Fields(isRecord(value) ? value : {}, this.name, `${this.prefix}${key}.`);
    this.sections.push(section);
    return section;
  }

  problem(key: string, found: unknown, allowed: string): void {
    const shown = JSON.stringify(found) ?? 'nothing';
    this.problems.push(
      `${this.prefix}${this.spelling(key)}: found ${shown.length > 60 ? `${shown.slice(0, 57)}…` : shown}, allowed ${allowed}`,
    );
  }

  /** @throws FormatError listing every problem noted so far. */
  finish(): void {
    const all = [this, ...this.sections].flatMap((fields) => fields.problems);
    if (all.length > 0) throw new FormatError(`${this.name}: ${all.join('; ')}`);
  }

  private readonly sections: Fields[] = [];

  private spelling(key: string): string {
    const own = this.spellings[key];
    const given = (name: string): boolean => this.values[name] !== undefined && this.values[name] !== null;
    return own !== undefined && (given(own) || !given(key)) ? own : key;
  }

  private take<T>(
    key: string,
    fallback: T | undefined,
    allowed: string,
    valid: (value: unknown) => boolean,
    substitute: T,
  ): T {
    const value = this.raw(key);
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    if (valid(value)) return value as T;
    this.problem(key, value, allowed);
    return substitute;
  }
}
