import { readFile } from 'node:fs/promises';
import { ConfigError, FormatError } from '../../errors.js';
import { generate } from '../../eval/generate.js';
import { encodePrompt, stopTokensOf, type Prompt } from '../../eval/prompt.js';
import { decodeContinuation, TextStream } from '../../eval/stream.js';
import { isRecord, parseJson } from '../../io/json.js';
import { isFile } from '../../node.js';
import type { ChatMessage } from '../../tokenizer/chat-template.js';
import { formatCount } from '../format.js';
import { openFlaggedSession, tell, type ModelFlags } from '../options.js';

/** What commander gives the action. */
export interface GenerateFlags extends ModelFlags {
  readonly prompt?: string;
  readonly messages?: string;
  readonly promptTokens?: readonly number[];
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly json?: true;
}

/** Prints what the model writes, as it comes. */
export async function runGenerate(flags: GenerateFlags): Promise<void> {
  const prompt = await readPrompt(flags);
  const session = await openFlaggedSession(flags);
  try {
    const { decoder, tokenizer, device } = session;
    const ids = encodePrompt(prompt, tokenizer);
    const { maxNewTokens, temperature, topK, topP, seed } = flags;
    const stream = tokenizer === undefined ? undefined : new TextStream(tokenizer, ids);
    const write = (text: string): void => {
      if (flags.json !== true) process.stdout.write(text);
    };
    const started = performance.now();
    let count = 0;
    const results = await device.guard(
      generate(decoder, [ids], {
        maxNewTokens,
        temperature,
        topK,
        topP,
        seed,
        stopTokens: stopTokensOf(decoder.config.eosTokenIds, tokenizer),
        onToken: (_row, token) => {
          write(stream === undefined ? `${count++ === 0 ? '' : ','}${token}` : stream.push(token));
        },
      }),
    );
    write(`${stream?.end() ?? ''}\n`);
    const seconds = (performance.now() - started) / 1000;
    const [{ tokens, reason } = { tokens: [], reason: 'length' }] = results;
    const speed = tokens.length / seconds;
    if (flags.json === true) {
      const text = tokenizer === undefined ? null : decodeContinuation(tokenizer, ids, tokens);
      const object = { text, tokens, prompt_tokens: ids.length, new_tokens: tokens.length, reason, tokens_per_second: Number(speed.toFixed(1)) };
      process.stdout.write(`${JSON.stringify(object)}\n`);
    } else {
      tell(`${tokens.length} tokens (${reason === 'stop' ? 'the model ended the text' : 'no more were allowed'}), ${formatCount(speed)} tokens/s`);
    }
  } finally {
    await session.dispose();
  }
}

async function readPrompt({ prompt, messages, promptTokens }: GenerateFlags): Promise<Prompt> {
  const given = [prompt, messages, promptTokens].filter((value) => value !== undefined);
  if (given.length !== 1) throw new ConfigError('give one of --prompt, --messages and --prompt-tokens');
  if (prompt !== undefined) return { text: prompt };
  if (promptTokens !== undefined) return { tokens: promptTokens };
  const file = messages as string;
  if (!(await isFile(file))) throw new ConfigError(`--messages: ${file}: no such file`);
  const json = parseJson(await readFile(file, 'utf8'), file);
  const list = isRecord(json) ? json['messages'] : json;
  const isMessage = (value: unknown): value is ChatMessage => isRecord(value) && typeof value['role'] === 'string';
  if (!Array.isArray(list) || list.length === 0 || !list.every(isMessage)) {
    throw new FormatError(`${file}: messages: expected a list of objects with a role and a content`);
  }
  return { messages: list };
}
