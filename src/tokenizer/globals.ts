import type { Scope } from './engine.js';
import { MAX_ITEMS } from './template-limits.js';

const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** Declares what every template can use, as transformers does. */
export function declareGlobals(environment: Scope): void {
  for (const [name, value] of [
    ['true', true],
    ['false', false],
    ['none', null],
  ] as const) {
    environment.set(name, value);
    environment.set(name.charAt(0).toUpperCase() + name.slice(1), value);
  }
  environment.set('raise_exception', (message: unknown) => {
    throw new Error(String(message));
  });
  environment.set('range', range);
  environment.set('strftime_now', (format: unknown) => formatTime(new Date(), String(format)));
}

/** Names that declareGlobals declares; a variable called so is left out. */
export const GLOBAL_NAMES = new Set([
  'true',
  'false',
  'none',
  'True',
  'False',
  'None',
  'raise_exception',
  'range',
  'strftime_now',
  'namespace',
]);

function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (step === 0) throw new Error('range: the step must not be 0');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_ITEMS)) throw new Error(`range: ${length} numbers: templates may make at most ${MAX_ITEMS}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

/** Python's strftime in the C locale, for the codes that templates use. */
export function formatTime(date: Date, format: string): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const [month = '', day = ''] = [MONTHS[date.getMonth()], DAYS[date.getDay()]];
  const codes: Readonly<Record<string, () => string>> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    b: () => month.slice(0, 3),
    B: () => month,
    a: () => day.slice(0, 3),
    A: () => day,
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    '%': () => '%',
  };
  return format.replace(/%(.)/gs, (code, letter: string) => codes[letter]?.() ?? code);
}
