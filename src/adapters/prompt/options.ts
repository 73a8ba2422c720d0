import * as z from 'zod';
import { count, text } from '../../option-types.js';
import { defineMethodOptions, initFrom, type OptionValues } from '../method-options.js';

export const PROMPT_INITS = ['RANDOM', 'TEXT', 'SAMPLE_VOCAB'] as const;

export const promptOptions = defineMethodOptions({
  summary: 'vectors in front of every text',
  options: {
    ...initFrom,
    num_virtual_tokens: count()
      .default(8)
      .describe('Trained vectors in front of every text, which take up context (prompt_tuning).'),
    prompt_tuning_init: z
      .enum(PROMPT_INITS)
      .default('RANDOM')
      .describe(
        'How the vectors start: normal with deviation 1, as the embedded tokens of a text, or as those of tokens drawn at random (prompt_tuning).',
      ),
    prompt_tuning_init_text: text()
      .exactOptional()
      .describe('The text of prompt_tuning_init TEXT, repeated or cut to the number of vectors (prompt_tuning).'),
  },
  contradictions({ section, valueAt }, report) {
    const initText = section.prompt_tuning_init_text;
    if (section.prompt_tuning_init === 'TEXT' && initText === undefined)
      report('prompt_tuning_init_text', 'is required with prompt_tuning_init TEXT: a string');
    if (section.prompt_tuning_init !== 'TEXT' && initText !== undefined)
      report('prompt_tuning_init_text', 'needs prompt_tuning_init TEXT');
    if (valueAt('data.packing') === true)
      report(
        'method',
        'prompt_tuning contradicts data.packing: the vectors would stand before the first text of a row only',
      );
  },
});

/** Settings of a new soft prompt; names and meanings as in PEFT's PromptTuningConfig. */
export type PromptOptions = Omit<OptionValues<typeof promptOptions>, 'init_from'>;
