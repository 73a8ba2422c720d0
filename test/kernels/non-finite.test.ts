import * as tf from '@tensorflow/tfjs-core';
import { setFlagsFromString } from 'node:v8';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setKernelVariant, withKernelMode } from '../../kernels/index.js';
import { backendVariants, chooseVariant } from '../../kernels/runtime/variant.js';
import type { WasmSimd } from '../../kernels/runtime/wasm/module.js';
import type { Device } from '../../src/device/device.js';
import { nodeHost } from '../../src/device/node.js';
import { openWasm } from '../../src/device/wasm.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { NON_FINITE_CASES, type NonFiniteCase } from '../support/non-finite.js';
import { normals } from '../support/numeric.js';

// What V8's optimising compiler makes of a kernel is what computes all day.
setFlagsFromString('--no-liftoff');

/** As bits: a NaN may carry any payload, and that of a file is not the one that arithmetic makes. */
const VALUES = {
  NaN: 0x7fc00000,
  'negative NaN': 0xffc00000,
  'NaN with a payload': 0x7fc00001,
  'NaN of ones': 0x7fffffff,
  Infinity: 0x7f800000,
  '-Infinity': 0xff800000,
} as const;
type ValueName = keyof typeof VALUES;
type Values = Readonly<Record<string, Float32Array>>;

/** What an input has to do with the outputs: see `relationOf`. */
interface Relation {
  /** By output: elements that must not be finite. */
  readonly required: Readonly<Record<string, readonly number[]>>;
  /** By output: elements that must be. */
  readonly untouched: Readonly<Record<string, readonly number[]>>;
}

function valuesOf({ name, shapes, squares = [] }: NonFiniteCase): Record<string, Float32Array> {
  const random = new Random(name.length);
  return Object.fromEntries(
    Object.entries(shapes).map(([input, shape]) => {
      const values = normals(random, tf.util.sizeFromShape([...shape]));
      return [input, squares.includes(input) ? values.map((x) => x * x) : values];
    }),
  );
}

async function outputsOf({ shapes, run }: NonFiniteCase, values: Values): Promise<Record<string, Float32Array>> {
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, tf.tensor(values[name] as Float32Array, [...shape])]),
  );
  const outputs = tf.tidy(() => run(inputs));
  const read = await Promise.all(
    Object.entries(outputs).map(async ([name, t]) => [name, await t.data<'float32'>()] as const),
  );
  tf.dispose([inputs, outputs]);
  return Object.fromEntries(read);
}

/** Stock ops on the CPU, which follow IEEE 754. */
async function referenceOf(op: NonFiniteCase, values: Values): Promise<Record<string, Float32Array>> {
  const own = tf.getBackend();
  await tf.setBackend('cpu');
  try {
    return await withReference(() => outputsOf(op, values));
  } finally {
    await tf.setBackend(own);
  }
}

async function withReference<T>(body: () => Promise<T>): Promise<T> {
  let result: Promise<T> | undefined;
  withKernelMode('reference', () => {
    result = body();
  });
  return result as Promise<T>;
}

function changed(
  values: Values,
  input: string,
  at: number,
  value: (before: number) => number | { readonly bits: number },
): Values {
  const copy = (values[input] as Float32Array).slice();
  const next = value(copy[at] as number);
  if (typeof next === 'number') copy[at] = next;
  else new Uint32Array(copy.buffer)[at] = next.bits;
  return { ...values, [input]: copy };
}

function indicesOf(values: Float32Array, holds: (value: number, i: number) => boolean): number[] {
  return Array.from(values, (value, i) => (holds(value, i) ? i : -1)).filter((i) => i >= 0);
}

/**
 * Which elements depend on one element of an input shows where other finite values are put there. A NaN has to reach
 * all of these; an infinity those at which the definition in stock ops is not finite (1 / ∞ is 0). What neither depends
 * on it nor is touched in stock ops must stay finite.
 */
async function relationOf(
  op: NonFiniteCase,
  values: Values,
  input: string,
  at: number,
  name: ValueName,
): Promise<Relation> {
  const plain = await referenceOf(op, values);
  const others: Record<string, Float32Array>[] = [];
  for (const other of [(x: number) => x + 3, (x: number) => Math.abs(x - 3)])
    others.push(await referenceOf(op, changed(values, input, at, other)));
  const poisoned = await referenceOf(
    op,
    changed(values, input, at, () => ({ bits: VALUES[name] })),
  );
  const all = name.includes('NaN') || op.strict?.includes(input) === true;
  const relation = (
    holds: (output: string, i: number, dependent: boolean, finite: boolean) => boolean,
  ): Record<string, number[]> =>
    Object.fromEntries(
      Object.entries(plain).map(([output, before]) => [
        output,
        indicesOf(before, (value, i) =>
          holds(
            output,
            i,
            others.some((other) => other[output]?.[i] !== value),
            Number.isFinite(poisoned[output]?.[i]),
          ),
        ),
      ]),
    );
  return {
    required: relation((_, __, dependent, finite) => dependent && (all || !finite)),
    untouched: relation((_, __, dependent, finite) => !dependent && finite),
  };
}

function placesOf(length: number): number[] {
  return [...new Set([0, Math.floor(0.8 * length), length - 1])];
}

const relations = new Map<string, Promise<Relation>>();

async function check(op: NonFiniteCase, names: readonly ValueName[], places = placesOf): Promise<void> {
  const values = valuesOf(op);
  const problems: string[] = [];
  for (const [input, { length }] of Object.entries(values)) {
    for (const at of places(length)) {
      for (const name of names) {
        // NaNs are alike in stock ops.
        const kind = name.includes('NaN') ? 'NaN' : name;
        const key = [op.name, input, at, kind].join('|');
        const found = relations.get(key) ?? relationOf(op, values, input, at, kind);
        relations.set(key, found);
        const { required, untouched } = await found;
        const outputs = await outputsOf(
          op,
          changed(values, input, at, () => ({ bits: VALUES[name] })),
        );
        for (const [output, actual] of Object.entries(outputs)) {
          const lost = required[output]?.filter((i) => Number.isFinite(actual[i])) ?? [];
          const spread = untouched[output]?.filter((i) => !Number.isFinite(actual[i])) ?? [];
          if (lost.length > 0)
            problems.push(
              `${name} in ${input}[${at}] is lost in ${lost.length} of ${required[output]?.length} elements of ${output}, first ${lost[0]}: ${actual[lost[0] as number]}`,
            );
          if (spread.length > 0)
            problems.push(`${name} in ${input}[${at}] reaches ${output}[${spread[0]}], which does not depend on it`);
        }
      }
    }
  }
  expect(problems).toEqual([]);
}

const ALL = Object.keys(VALUES) as ValueName[];

it('every input has an output that depends on it', async () => {
  await tf.setBackend('cpu');
  for (const op of NON_FINITE_CASES) {
    const values = valuesOf(op);
    for (const [input, { length }] of Object.entries(values)) {
      const found: number[] = [];
      for (const at of placesOf(length))
        found.push(...Object.values((await relationOf(op, values, input, at, 'NaN')).required).flat());
      expect(found.length, `${op.name}: ${input}`).toBeGreaterThan(0);
    }
  }
});

describeBackends('what is not finite', ['cpu'], () => {
  it.each(NON_FINITE_CASES)('arrives through $name in stock ops', async (op) => {
    await withReference(() => check(op, ['NaN', 'Infinity', '-Infinity']));
  });
});

describe.each<WasmSimd>(['plain', 'relaxed', 'wide'])("what is not finite on wasm with '%s' SIMD", (simd) => {
  let device: Device;
  beforeAll(async () => {
    device = await openWasm(
      'asked for by name',
      { ...nodeHost, wasmSimd: () => (nodeHost.wasmSimd?.(), simd) },
      { threads: 2 },
    );
  });
  afterAll(async () => {
    await device.close();
    // A backend keeps the binaries that it began with: the next one begins anew.
    const factory = tf.findBackendFactory('wasm');
    tf.removeBackend('wasm');
    tf.registerBackend('wasm', factory, 2);
  });

  it.each(NON_FINITE_CASES)('arrives through $name', async (op) => {
    await check(op, ALL);
  });
});

// A GPU may write any NaN for a NaN.
const GPU: readonly ValueName[] = ['NaN', 'Infinity', '-Infinity'];

describeBackends('what is not finite', ['webgpu'], () => {
  it.each(NON_FINITE_CASES)('arrives through $name in every variant that runs here', async (op) => {
    const own = chooseVariant(tf.backend()).name;
    for (const variant of backendVariants(tf.backend())) {
      setKernelVariant(variant);
      try {
        // Variants differ in their products and sums, whatever the place.
        await check(op, GPU, variant === own ? placesOf : (length) => [Math.floor(0.8 * length)]);
      } catch (error) {
        throw new Error(`variant ${variant}`, { cause: error });
      } finally {
        setKernelVariant('auto');
      }
    }
  });
});
