import * as z from 'zod';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { AdapterMethodDefinition } from '../../src/adapters/adapter.js';
import { defineMethodOptions } from '../../src/adapters/method-options.js';
import { METHOD_NAMES, METHOD_OPTIONS, methodsWithOption, otherMethodsWithOption } from '../../src/adapters/options.js';
import { methodOfType, METHODS, type AdapterMethod } from '../../src/adapters/registry.js';
import { runConfigSchema, type RunConfig } from '../../src/config/schema.js';
import { BASES, METHOD_VARIANTS, readmeTable } from '../support/method-matrix.js';

type Definitions = Readonly<Record<AdapterMethod, AdapterMethodDefinition>>;

describe('the registry of adapter methods', () => {
  it('does not compile without an implementation or README rows of each method', () => {
    const { full: _full, ...others } = METHODS;
    // @ts-expect-error `full` has options and no implementation
    others satisfies Definitions;
    const { layers: _layers, ...rows } = METHOD_VARIANTS;
    // @ts-expect-error `layers` has no row
    rows satisfies typeof METHOD_VARIANTS;
    // @ts-expect-error `lora` has no row
    ({ ...METHOD_VARIANTS, lora: [] }) satisfies typeof METHOD_VARIANTS;
    ({ ...METHODS }) satisfies Definitions;
    expectTypeOf<keyof typeof METHODS>().toEqualTypeOf<AdapterMethod>();
    expectTypeOf<RunConfig['adapter']['method']>().toEqualTypeOf<AdapterMethod>();
  });

  it('has code that reads every option of its method', () => {
    type Read<M extends AdapterMethod> = keyof Parameters<(typeof METHODS)[M]['create']>[1];
    type Declared<M extends AdapterMethod> = keyof (typeof METHOD_OPTIONS)[M]['options'];
    // `init_from` and `added_tokens` are read where a run is put together; `bias` has one value.
    type Elsewhere<M extends AdapterMethod> = 'init_from' | (M extends 'lora' ? 'added_tokens' | 'bias' : never);
    type Unread = { [M in AdapterMethod]: Exclude<Declared<M>, Read<M> | Elsewhere<M>> };
    type Undeclared = { [M in AdapterMethod]: Exclude<Read<M>, Declared<M>> };
    expectTypeOf<Unread>().toEqualTypeOf<Record<AdapterMethod, never>>();
    expectTypeOf<Undeclared>().toEqualTypeOf<Record<AdapterMethod, never>>();
  });

  it('refuses names of no option in the rules of a method', () => {
    const options = { rate: z.number().default(1) };
    defineMethodOptions({
      summary: 'nothing',
      options,
      contradictions: ({ section }, report) => {
        report('rate', String(section.rate));
        // @ts-expect-error no option of the method
        report('rte', String(section.rte));
      },
    });
    expect(runConfigSchema.shape.adapter.unwrap().shape).not.toHaveProperty('rate');
  });

  it('gives every option of the adapter section to the methods that declare it, and no other', () => {
    const { method, ...options } = runConfigSchema.shape.adapter.unwrap().shape;
    expect(method.unwrap().options).toEqual(METHOD_NAMES);
    const declared = new Set(METHOD_NAMES.flatMap((name) => Object.keys(METHOD_OPTIONS[name].options)));
    expect(Object.keys(options).sort()).toEqual([...declared].sort());
    for (const [option, schema] of Object.entries(options)) {
      const owners = methodsWithOption(option);
      expect(owners, option).not.toEqual([]);
      for (const owner of owners)
        expect((METHOD_OPTIONS[owner].options as Record<string, unknown>)[option], `${owner}: ${option}`).toBe(schema);
    }
    expect(methodsWithOption('init_from')).toEqual(METHOD_NAMES);
    expect(methodsWithOption('r')).toEqual(['lora']);
    expect(methodsWithOption('toString')).toEqual([]);
    expect(otherMethodsWithOption('r', 'full')).toEqual(['lora']);
    expect(otherMethodsWithOption('r', 'lora')).toBeUndefined();
    expect(otherMethodsWithOption('init_from', 'unknown')).toBeUndefined();
    expect(otherMethodsWithOption('method', 'full')).toBeUndefined();
  });

  it('finds each method by its peft_type, which no other has', () => {
    for (const name of METHOD_NAMES) expect(methodOfType(METHODS[name].peftType)).toBe(name);
    expect(methodOfType('IA3')).toBeUndefined();
    expect(methodOfType(undefined)).toBeUndefined();
  });

  it('has rows in README’s table for each method, and no others; every mark is explained', async () => {
    const { text, rows } = await readmeTable();
    const titles = METHOD_NAMES.flatMap((method) =>
      METHOD_VARIANTS[method].flatMap(({ name }) => BASES.map((base) => `${name}, ${base}`)),
    );
    expect([...rows.keys()].sort()).toEqual(titles.sort());
    const marks = new Set([...rows.values()].flatMap((cells) => Object.values(cells)));
    for (const mark of marks) if (mark !== '–') expect(text, mark).toContain(`\n- ${mark}: `);
  });
});
