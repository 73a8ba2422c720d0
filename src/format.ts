const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
const COUNT_UNITS = ['', 'k', 'M', 'B', 'T'] as const;

/** Bytes for people: `512 B`, `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  const [value, unit] = scale(bytes, 1024, BINARY_UNITS);
  return `${value} ${unit}`;
}

/** A count for people: `950`, `1.24M`, `7.1B`. */
export function formatCount(count: number): string {
  return scale(count, 1000, COUNT_UNITS).join('');
}

/** Seconds for people: `0.8s`, `42s`, `3m05s`, `2h07m`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}m${pad(whole % 60)}s`;
  return `${Math.floor(minutes / 60)}h${pad(minutes % 60)}m`;
}

/** A learning rate or a loss with a steady width: four decimals, or an exponent where these would hide it. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(2) : value.toFixed(4);
}

/** Behind a loss that is a cross-entropy; empty for others, which have no perplexity. */
export function perplexityText(perplexity: number | undefined): string {
  return perplexity === undefined ? '' : `  perplexity ${formatNumber(perplexity)}`;
}

/** Three significant digits; the unit changes before rounding would show four digits before the point. */
function scale<U extends string>(value: number, base: number, units: readonly [U, ...U[]]): [string, U] {
  let scaled = value;
  let index = 0;
  while (Math.abs(scaled) >= base - 0.5 && index < units.length - 1) {
    scaled /= base;
    index++;
  }
  const unit = units[index] ?? units[0];
  if (index === 0 && Number.isInteger(scaled)) return [String(scaled), unit];
  const digits = Math.abs(scaled) >= 99.95 ? 0 : Math.abs(scaled) >= 9.995 ? 1 : 2;
  return [String(Number(scaled.toFixed(digits))), unit];
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
