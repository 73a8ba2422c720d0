import { DataError } from '../errors.js';

/** What is wrong with one row. */
export interface RowProblem {
  readonly source: string;
  /** `line 3` or `row 3`. */
  readonly place: string;
  readonly message: string;
}

const LISTED = 10;

/** Gathers what is wrong with the rows of a data set, so that one message names them together. */
export class RowProblems {
  private readonly listed: RowProblem[] = [];
  private total = 0;

  get count(): number {
    return this.total;
  }

  add(source: string, place: string, message: string): void {
    this.total++;
    if (this.listed.length < LISTED) this.listed.push({ source, place, message });
  }

  /** @throws DataError listing the first ten bad rows and saying how many there are. */
  throwIfAny(): void {
    const first = this.listed[0];
    if (first === undefined) return;
    if (this.total === 1) throw new DataError(`${first.source}, ${first.place}: ${first.message}`);
    const lines = this.listed.map((problem) => `  ${problem.source}, ${problem.place}: ${problem.message}`);
    if (this.total > LISTED) lines.push(`  … and ${this.total - LISTED} more`);
    throw new DataError(`${this.total} bad rows:\n${lines.join('\n')}`);
  }
}
