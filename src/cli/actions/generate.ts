import { readFile } from 'node:fs/promises';
import { promptOfRow } from '../../data/prompt.js';
import { ConfigError, FormatError } from '../../errors.js';
import { generate, type Generated, type GenerateOptions } from '../../eval/generate.js';
import { encodePrompt, stopTokensOf, type Prompt } from '../../eval/prompt.js';
import { decodeContinuation, TextStream } from '../../eval/stream.js';
import { isRecord, parseJson } from '../../io/json.js';
import { isFile } from '../../node.js';
import { takeBosNote } from '../../tokenizer/doubled-bos.js';
import type { Session } from '../../session.js';
import { formatCount } from '../../format.js';
import { tell } from '../options.js';
import {
  parseConversation,
  parseExactly,
  readRequests,
  type GenerateRequest,
} from '../../workspace/generate-requests.js';
import type { RunSession } from '../../workspace/open-run-session.js';
import { openRunOfFlags, type RunFlags } from '../run-session.js';
import { print, printExact } from '../view/terminal.js';

/** What commander gives the action. */
export interface GenerateFlags extends RunFlags {
  readonly prompt?: string;
  readonly messages?: string;
  readonly row?: string;
  readonly promptTokens?: readonly number[];
  readonly requests?: string;
  readonly batchSize: number;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly json?: true;
}

/**
 * Prints what the model writes, as it comes; of several adapters one after the other; of a file of requests a line
 * each.
 */
export async function runGenerate(flags: GenerateFlags): Promise<void> {
  const given = [flags.prompt, flags.messages, flags.row, flags.promptTokens, flags.requests].filter(
    (value) => value !== undefined,
  );
  if (given.length !== 1)
    throw new ConfigError('give one of --prompt, --messages, --row, --prompt-tokens and --requests');
  const requests = flags.requests === undefined ? undefined : await readRequestFile(flags.requests);
  const prompt = requests === undefined ? await readPrompt(flags) : undefined;
  const opened = await openRunOfFlags(flags);
  const { session } = opened;
  try {
    if (requests !== undefined) return await answerRequests(opened, requests, flags);
    const written = promptFor(opened, prompt as GenerateRequest['prompt'], '--row');
    if ('text' in written && flags.prompt !== undefined) noteRawPrompt(opened);
    const { names } = session.adapters;
    if (names.length < 2) return await answer(session, written, flags);
    for (const name of names) {
      session.adapters.use(name);
      await answer(session, written, flags, name);
    }
  } finally {
    await session.dispose();
  }
}

/** A row as the prompt that it has in training. */
function promptFor(
  { session, rows: { chat_template: _template, ...rows } }: RunSession,
  prompt: GenerateRequest['prompt'],
  place: string,
): Prompt {
  return 'row' in prompt ? promptOfRow(prompt.row, rows, session.tokenizer, place) : prompt;
}

/** A text is continued as it is, which is not how such a model was asked in training. */
function noteRawPrompt({ session, config, rows }: RunSession): void {
  if (config === undefined) return;
  if (rows.template !== undefined)
    tell(
      'note: --prompt is continued as it is; --row \'{"field": "…"}\' writes a prompt with the template of the training',
    );
  else if (rows.chat_template !== undefined && session.tokenizer?.chatTemplate !== undefined)
    tell(
      'note: --prompt is continued as it is; --messages FILE writes a conversation with the chat template of the training',
    );
}

/** @param name of the adapter, where there are several to tell apart */
async function answer(session: Session, prompt: Prompt, flags: GenerateFlags, name?: string): Promise<void> {
  const { decoder, tokenizer, device } = session;
  const ids = encodePrompt(prompt, tokenizer);
  tellBos(session);
  const stream = tokenizer === undefined ? undefined : new TextStream(tokenizer, ids);
  const write = (text: string): void => {
    if (flags.json !== true) printExact(text);
  };
  if (name !== undefined) write(`── ${name}\n`);
  const started = performance.now();
  let count = 0;
  const [result = { tokens: [], reason: 'length' }] = await device.guard(
    generate(decoder, [ids], {
      ...settingsOf(session, flags),
      onToken: (_row, token) => {
        write(stream === undefined ? `${count++ === 0 ? '' : ','}${token}` : stream.push(token));
      },
    }),
  );
  write(`${stream?.end() ?? ''}\n`);
  const speed = (1000 * result.tokens.length) / (performance.now() - started);
  if (flags.json === true)
    writeJson(session, ids, result, {
      ...(name === undefined ? {} : { adapter: name }),
      tokens_per_second: Number(speed.toFixed(1)),
    });
  else
    tell(
      `${result.tokens.length} tokens (${result.reason === 'stop' ? 'the model ended the text' : 'no more were allowed'}), ${formatCount(speed)} tokens/s`,
    );
}

/** Answers in the order of the file; requests to the same adapter share batches, and no weight is loaded between. */
async function answerRequests(
  opened: RunSession,
  requests: readonly GenerateRequest[],
  flags: GenerateFlags,
): Promise<void> {
  const { session } = opened;
  const { adapters, decoder, tokenizer, device } = session;
  const standard = adapters.active ?? null;
  const prompts = requests.map(({ prompt }, i) =>
    encodePrompt(promptFor(opened, prompt, `${flags.requests}, request ${i + 1}`), tokenizer),
  );
  tellBos(session);
  const names = requests.map(({ adapter }) => (adapter === undefined ? standard : adapter));
  const unknown = names.filter((name) => name !== null && !adapters.names.includes(name));
  if (unknown.length > 0)
    throw new ConfigError(`${flags.requests}: no --adapter is called ${[...new Set(unknown)].join(', ')}`);
  const results = new Array<Generated>(requests.length);
  for (const name of new Set(names)) {
    adapters.use(name ?? undefined);
    const rows = names.flatMap((other, row) => (other === name ? [row] : []));
    for (let i = 0; i < rows.length; i += flags.batchSize) {
      const batch = rows.slice(i, i + flags.batchSize);
      const made = await device.guard(
        generate(
          decoder,
          batch.map((row) => prompts[row] as number[]),
          { ...settingsOf(session, flags), streams: batch },
        ),
      );
      batch.forEach((row, k) => (results[row] = made[k] as Generated));
    }
  }
  results.forEach((result, row) => {
    writeJson(session, prompts[row] as number[], result, { adapter: names[row] ?? null });
  });
}

function tellBos({ tokenizer }: Session): void {
  const note = takeBosNote(tokenizer);
  if (note !== undefined) tell(note);
}

function settingsOf(
  { decoder, tokenizer }: Session,
  { maxNewTokens, temperature, topK, topP, seed }: GenerateFlags,
): GenerateOptions {
  return {
    maxNewTokens,
    temperature,
    topK,
    topP,
    seed,
    stopTokens: stopTokensOf(decoder.config.eosTokenIds, tokenizer),
  };
}

function writeJson({ tokenizer }: Session, ids: readonly number[], { tokens, reason }: Generated, more: object): void {
  const text = tokenizer === undefined ? null : decodeContinuation(tokenizer, ids, tokens);
  print(`${JSON.stringify({ text, tokens, prompt_tokens: ids.length, new_tokens: tokens.length, reason, ...more })}\n`);
}

async function readRequestFile(file: string): Promise<GenerateRequest[]> {
  if (!(await isFile(file))) throw new ConfigError(`--requests: ${file}: no such file`);
  return readRequests(file);
}

async function readPrompt({ prompt, messages, promptTokens, row }: GenerateFlags): Promise<GenerateRequest['prompt']> {
  if (prompt !== undefined) return { text: prompt };
  if (promptTokens !== undefined) return { tokens: promptTokens };
  if (row !== undefined) {
    const [text, name] =
      row.trimStart().startsWith('{') || !(await isFile(row)) ? [row, '--row'] : [await readFile(row, 'utf8'), row];
    const fields = parseJson(text, name);
    if (!isRecord(fields)) throw new FormatError(`${name}: expected a JSON object with the fields of a row`);
    return { row: fields };
  }
  const file = messages as string;
  if (!(await isFile(file))) throw new ConfigError(`--messages: ${file}: no such file`);
  const conversation = parseConversation(parseExactly(await readFile(file, 'utf8'), file));
  if (conversation === undefined)
    throw new FormatError(
      `${file}: messages: expected a list of objects with a role and a content, by itself or as "messages" of an object that may have "tools" and "chat_template_kwargs" besides`,
    );
  return conversation;
}
