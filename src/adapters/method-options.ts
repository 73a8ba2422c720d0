import type * as z from 'zod';
import { text } from '../option-types.js';

/**
 * The options of one adapter method. Types, defaults, help, error messages and the reference page of the `adapter`
 * section are derived from them; `src/adapters/options.ts` joins those of all methods.
 */
export interface MethodOptions<S extends z.core.$ZodShape = z.core.$ZodShape> {
  /** What the method trains, in a few words for the reference page. */
  readonly summary: string;
  /** The options that the method takes. An option of several methods is one schema that each of them names. */
  readonly options: S;
  /** Why the base model cannot be stored in 4 bits; absent where it can. */
  readonly floatBaseOnly?: string;
  /** Reports options that contradict each other. */
  readonly contradictions?: (given: GivenOptions<S>, report: ReportOption<S>) => void;
}

export interface GivenOptions<S extends z.core.$ZodShape> {
  /** The `adapter` section as it is written, before types are checked and defaults filled in. */
  readonly section: Readonly<Partial<Record<keyof S, unknown>>>;
  /** A value elsewhere in the config by its dotted path, such as `data.packing`. */
  readonly valueAt: (path: string) => unknown;
}

type ReportOption<S extends z.core.$ZodShape> = (option: (keyof S & string) | 'method', message: string) => void;

/** Infers the option names, so that a misspelt one in `contradictions` does not compile. */
export function defineMethodOptions<S extends z.core.$ZodShape>(definition: MethodOptions<S>): MethodOptions<S> {
  return definition;
}

/** The options as a checked config has them, with defaults. */
export type OptionValues<M extends MethodOptions> = Readonly<z.output<z.ZodObject<M['options'], z.core.$strict>>>;

/** The option of every method whose training can continue from a saved adapter. */
export const initFrom = {
  init_from: text()
    .exactOptional()
    .describe('Folder of a PEFT adapter to go on training from, instead of a fresh one.')
    .meta({ path: 'file' }),
};
