import type { AdapterMethodDefinition } from './adapter.js';
import { lora } from './lora.js';

/** Every way of training that can be asked for as `adapter.method`. */
export const METHODS = { lora } as const satisfies Record<string, AdapterMethodDefinition>;
export type AdapterMethod = keyof typeof METHODS;
