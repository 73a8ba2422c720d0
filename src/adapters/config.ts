import type { PeftConfig } from './peft-config.js';

/** adapter_config.json of every kind of adapter, told apart by `peft_type`. */
export type AdapterConfig = PeftConfig;
export type PeftType = AdapterConfig['peftType'];
