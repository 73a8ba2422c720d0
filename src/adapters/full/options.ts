import * as z from 'zod';
import { defineMethodOptions, initFrom, type OptionValues } from '../method-options.js';

export const fullOptions = defineMethodOptions({
  summary: 'every weight',
  options: {
    ...initFrom,
    save_dtype: z
      .enum(['auto', 'float32', 'float16', 'bfloat16'])
      .default('auto')
      .describe('How the trained model is stored; `auto` is as the base model is (full).'),
  },
  floatBaseOnly: 'a weight held in 4 bits takes no gradient',
});

/** Settings of a run that trains every weight. */
export type FullOptions = Omit<OptionValues<typeof fullOptions>, 'init_from'>;
