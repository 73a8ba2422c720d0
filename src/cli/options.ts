import { Option } from 'commander';
import { allOptions } from '../config/options.js';
import { DEVICE_NAMES, type Device } from '../device/device.js';
import { ConfigError } from '../errors.js';
import { printError } from './view/terminal.js';

export function deviceOption(): Option {
  return new Option('--device <name>', 'what computes').choices(['auto', ...DEVICE_NAMES]).default('auto');
}

/**
 * `device: wasm, WebAssembly SIMD on the CPU, 2 threads`, and the package that a GPU would need; `lowrank doctor` says
 * why this device was chosen.
 */
export function describeDevice({ name, description, label = description, software, reason }: Device): string {
  const install = reason.includes('webgpu is not installed') ? ' (to use a GPU: npm install webgpu)' : '';
  return `device: ${name}, ${label}${software ? ' (emulated in software)' : ''}${install}`;
}

/** A line for people, beside the results on standard output. */
export function tell(line: string): void {
  printError(`${line}\n`);
}

/** For numbers on the command line. @throws ConfigError naming the option. */
export function numberOption(
  name: string,
  { min, max = Infinity, integer = false }: { min: number; max?: number; integer?: boolean },
): (value: string) => number {
  return (text) => {
    const value = Number(text);
    if (
      text.trim() === '' ||
      !Number.isFinite(value) ||
      value < min ||
      value > max ||
      (integer && !Number.isSafeInteger(value))
    ) {
      const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;
      throw new ConfigError(`--${name} ${text}: expected ${integer ? 'an integer' : 'a number'} ${range}`);
    }
    return value;
  };
}

/** `5GB`, `500MB`, `2GiB` or bytes, as transformers writes sizes. */
export function shardSizeOption(): Option {
  const units: Readonly<Record<string, number>> = {
    '': 1,
    B: 1,
    KB: 1e3,
    MB: 1e6,
    GB: 1e9,
    TB: 1e12,
    KIB: 2 ** 10,
    MIB: 2 ** 20,
    GIB: 2 ** 30,
    TIB: 2 ** 40,
  };
  return new Option('--max-shard-size <size>', 'largest weight file, such as 500MB or 2GiB (default: 5GB)').argParser(
    (text: string) => {
      const [, value, unit = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
      const bytes = Number(value) * (units[unit.toUpperCase()] ?? NaN);
      if (!(bytes >= 1)) throw new ConfigError(`--max-shard-size ${text}: expected a size such as 5GB, 500MB or 2GiB`);
      return bytes;
    },
  );
}

/** The default of an option of the config, for a flag that means the same. */
export function configDefault<T extends string | number>(path: string): T {
  return allOptions.find((option) => option.path === path)?.default as T;
}
