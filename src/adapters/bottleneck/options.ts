import * as z from 'zod';
import { count } from '../../option-types.js';
import { defineMethodOptions, initFrom, type OptionValues } from '../method-options.js';

export const PLACEMENTS = ['houlsby', 'pfeiffer'] as const;
export const NON_LINEARITIES = ['relu', 'gelu', 'gelu_tanh', 'silu'] as const;

export const bottleneckOptions = defineMethodOptions({
  summary: 'small networks behind sublayers',
  options: {
    ...initFrom,
    placement: z
      .enum(PLACEMENTS)
      .default('houlsby')
      .describe(
        'Networks behind attention and feed-forward of every layer, or behind the feed-forward only (bottleneck).',
      ),
    bottleneck_size: count().exactOptional().describe('Width of the networks (bottleneck).'),
    reduction_factor: z
      .number()
      .gt(0)
      .exactOptional()
      .describe(
        'The hidden size by the width of the networks, in place of bottleneck_size; 16 where neither is given (bottleneck).',
      ),
    non_linearity: z
      .enum(NON_LINEARITIES)
      .default('relu')
      .describe('What lies between the two projections of a network (bottleneck).'),
  },
  contradictions({ section }, report) {
    if (section.bottleneck_size !== undefined && section.reduction_factor !== undefined)
      report('reduction_factor', 'contradicts adapter.bottleneck_size: give one of the two');
  },
});

/** Settings of new bottleneck adapters. */
export type BottleneckOptions = Omit<OptionValues<typeof bottleneckOptions>, 'init_from'>;
