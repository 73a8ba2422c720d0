import { visible } from '../../text.js';

/** Writes to standard output, for people or as JSON. */
export function print(text: string): void {
  process.stdout.write(visible(text));
}

/**
 * Writes text that programs read as it is, such as a path or what a model says: only a terminal gets it with control
 * characters shown.
 */
export function printExact(text: string): void {
  process.stdout.write(process.stdout.isTTY ? visible(text) : text);
}

/** Writes to standard error. */
export function printError(text: string): void {
  process.stderr.write(visible(text));
}

/** Two noncharacters of Unicode around what `printMarked` shows in green. */
export const GREEN_MARKS = { open: '\ufdd0', close: '\ufdd1' };

/** The same as `print`, where what stands between marks becomes green. */
export function printMarked(text: string): void {
  process.stdout.write(
    visible(text).replaceAll(GREEN_MARKS.open, '\x1b[32m').replaceAll(GREEN_MARKS.close, '\x1b[39m'),
  );
}

/**
 * Columns of the terminal that a stream writes to (standard output unless given); what is not a terminal takes lines of
 * any length.
 */
export function terminalWidth(
  stream: { readonly isTTY?: boolean; readonly columns?: number } = process.stdout,
): number {
  return stream.isTTY === true ? stream.columns || 80 : Infinity;
}
