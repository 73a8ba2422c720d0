import * as z from 'zod';
import { defineMethodOptions, initFrom, type OptionValues } from '../method-options.js';

export const layersOptions = defineMethodOptions({
  summary: 'the last decoder layers themselves',
  options: {
    ...initFrom,
    num_trainable_layers: z
      .int()
      .min(0)
      .default(1)
      .describe('How many of the last decoder layers are trained (layers).'),
    train_norms: z
      .boolean()
      .default(false)
      .describe('Train the norms of all other layers too, and the final one (layers).'),
    train_head: z
      .boolean()
      .default(false)
      .describe('Train the output layer too, with the embedding where the two are one (layers).'),
  },
  contradictions({ section }, report) {
    if (section.num_trainable_layers === 0 && section.train_norms !== true && section.train_head !== true)
      report(
        'num_trainable_layers',
        'leaves nothing to train: 0 layers, without adapter.train_norms and adapter.train_head',
      );
  },
});

/** Which of the base's own tensors are trained. */
export type LayersOptions = Omit<OptionValues<typeof layersOptions>, 'init_from'>;
