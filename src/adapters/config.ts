import type { BottleneckConfig } from './bottleneck/config.js';
import type { FullConfig, LayersConfig } from './layers/config.js';
import type { LoraConfig } from './lora/config.js';
import type { PromptConfig } from './prompt/config.js';

/** adapter_config.json of every kind of adapter, told apart by `peft_type`. */
export type AdapterConfig = LoraConfig | PromptConfig | BottleneckConfig | LayersConfig | FullConfig;
export type PeftType = AdapterConfig['peftType'];
