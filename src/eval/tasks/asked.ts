import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { encodePrompt } from '../prompt.js';
import type { PromptedTask } from './schema.js';

/** A prompt as the model is asked it: as it is, or as the user's turn of a conversation. */
export function askedPrompt(
  { chat }: PromptedTask,
  prompt: string,
  tokenizer: Tokenizer,
): { readonly text: string } | { readonly tokens: readonly number[] } {
  return chat
    ? { tokens: encodePrompt({ messages: [{ role: 'user', content: prompt }] }, tokenizer) }
    : { text: prompt };
}
