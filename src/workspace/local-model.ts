import { resolve } from 'node:path';
import type { RunConfig } from '../config/schema.js';
import { isDirectory } from '../io/node.js';

/**
 * The config with the model as an absolute path where it names a folder here, also without dots: it is written to
 * adapter_config.json, and would mean nothing, or a model of the Hub, from another folder. Names of the Hub stay.
 */
export async function withLocalModel(config: RunConfig): Promise<RunConfig> {
  return (await isDirectory(config.model)) ? { ...config, model: resolve(config.model) } : config;
}
