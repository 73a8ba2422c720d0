import * as z from 'zod';
import { NON_LINEARITIES, PLACEMENTS } from './options.js';
import type { Activation } from '../../../kernels/index.js';
import {
  commonFields,
  parseFields,
  readCommon,
  serializeFields,
  writtenCommon,
  type SavedConfig,
} from '../peft/fields.js';

export type Placement = (typeof PLACEMENTS)[number];

/** adapter_config.json of bottleneck adapters: a kind of this package, which PEFT does not know. */
export interface BottleneckConfig extends SavedConfig {
  readonly peftType: 'BOTTLENECK';
  readonly size: number;
  readonly placement: Placement;
  readonly nonLinearity: Activation;
}

const schema = z.object({
  ...commonFields,
  peft_type: z.literal('BOTTLENECK'),
  bottleneck_size: z.number().int().min(1),
  placement: z.enum(PLACEMENTS),
  non_linearity: z.enum(NON_LINEARITIES),
});

/** @throws FormatError naming the file and each wrong field. */
export function parseBottleneckConfig(json: unknown, name = 'adapter_config.json'): BottleneckConfig {
  const fields = parseFields(schema, json, name);
  return {
    ...readCommon(fields),
    peftType: 'BOTTLENECK',
    size: fields.bottleneck_size,
    placement: fields.placement,
    nonLinearity: fields.non_linearity,
  };
}

export function serializeBottleneckConfig(config: BottleneckConfig): string {
  return serializeFields({
    ...writtenCommon(config),
    bottleneck_size: config.size,
    non_linearity: config.nonLinearity,
    placement: config.placement,
  });
}
