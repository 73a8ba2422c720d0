import type { Family } from './family.js';
import { gemma } from './gemma.js';
import { gpt2 } from './gpt2.js';
import { gptNeox } from './gpt-neox.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { phi } from './phi.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

export type { Family } from './family.js';

/** Every model family, by the `model_type` of its config.json. */
export const FAMILIES = {
  llama,
  mistral,
  qwen2,
  qwen3,
  gpt2,
  gpt_neox: gptNeox,
  phi,
  phi3,
  gemma,
} as const satisfies Record<string, Family>;
export type ModelType = keyof typeof FAMILIES;

export function isModelType(value: unknown): value is ModelType {
  return typeof value === 'string' && Object.hasOwn(FAMILIES, value);
}
