import { vi } from 'vitest';

/**
 * Sets the clock to noon of the date that a rendered conversation holds, if any: templates that write the current date
 * then render what they rendered when the reference was recorded. `vi.useRealTimers()` undoes it.
 */
export function useRecordedDate(text: string): void {
  const date = /Current date: (\d{4}-\d{2}-\d{2})/.exec(text)?.[1];
  vi.useRealTimers();
  if (date !== undefined) vi.useFakeTimers({ now: new Date(`${date}T12:00:00`), toFake: ['Date'] });
}
