import { readAdapter } from '../adapters/peft/files.js';
import { compareReplay } from '../eval/replay.js';
import type { Directory } from '../io/directory.js';
import { toFloat32 } from '../io/safetensors.js';
import type { Decoder } from '../model/decoder.js';
import { withTokensOf } from '../tokenizer/added-tokens.js';
import { withChatTemplate } from '../tokenizer/model-chat-template.js';
import { hashTokenizer, hashWeights } from './hashes.js';
import { readRecord, type TrainingRecord } from './record.js';

/** One thing that was looked at. `skipped` means that it could not be, and why. */
export interface Check {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Each finding, or what was compared. */
  readonly details: readonly string[];
}

/** That every value of an adapter's tensors is a finite number. */
export async function checkFinite(adapter: Directory): Promise<Check> {
  const { tensors } = await readAdapter(adapter);
  const details: string[] = [];
  for (const [key, tensor] of tensors) {
    const bad = toFloat32(tensor, key).reduce((count, value) => count + (Number.isFinite(value) ? 0 : 1), 0);
    if (bad > 0) details.push(`${key}: ${bad} values are not finite`);
  }
  return details.length > 0
    ? { name: 'finite values', outcome: 'failed', details }
    : { name: 'finite values', outcome: 'passed', details: [`${tensors.size} tensors`] };
}

/**
 * That the base model and the tokenizer are those of the training, by their hashes.
 * @param chatTemplate of the training, where it was not the model's own.
 */
export async function checkHashes(
  record: TrainingRecord,
  adapter: Directory,
  model: Directory,
  chatTemplate?: string,
): Promise<Check[]> {
  const { files } = record.base;
  // Tokens and a template that were chosen for the training are in none of the model's files.
  const tokens = await withTokensOf(model, adapter);
  const grown = chatTemplate === undefined ? tokens : await withChatTemplate(tokens, chatTemplate);
  return [
    compareHashes('base weights', files, await hashWeights(model), `trained on ${record.base.name}`),
    compareHashes(
      'tokenizer and chat template of the model',
      record.tokenizer,
      await hashTokenizer(grown),
      grown === model
        ? 'as in training'
        : `as in training, with the ${grown === tokens ? 'tokens that were added' : 'chat template that was given'} for it`,
    ),
    compareHashes(
      'tokenizer and chat template beside the adapter',
      record.tokenizer,
      await hashTokenizer(adapter),
      'as in training',
    ),
  ];
}

function compareHashes(
  name: string,
  expected: Readonly<Record<string, string>>,
  found: Readonly<Record<string, string>>,
  passed: string,
): Check {
  const all = [...new Set([...Object.keys(expected), ...Object.keys(found)])].sort();
  if (all.length === 0) return { name, outcome: 'skipped', details: ['there are no such files'] };
  const details = all.flatMap((file) => {
    if (expected[file] === found[file]) return [];
    if (found[file] === undefined) return [`${file}: missing`];
    return [
      expected[file] === undefined
        ? `${file}: not there in training`
        : `${file}: SHA-256 is ${found[file]}, in training it was ${expected[file]}`,
    ];
  });
  return details.length > 0
    ? { name, outcome: 'failed', details }
    : { name, outcome: 'passed', details: [`${passed}: ${all.join(', ')}`] };
}

/** Asks the recorded prompts again. The decoder carries the adapter, on the base in the precision of the training. */
export async function checkReplays(record: TrainingRecord, decoder: Decoder): Promise<Check> {
  const name = 'recorded answers';
  if (record.replays.length === 0) return { name, outcome: 'skipped', details: ['none were recorded'] };
  const details: string[] = [];
  let failed = false;
  for (const [i, replay] of record.replays.entries()) {
    const { equal, verdict } = await compareReplay(decoder, replay);
    failed ||= verdict === 'different';
    details.push(
      verdict === 'equal'
        ? `prompt ${i + 1}: all ${replay.tokens.length} tokens equal`
        : `prompt ${i + 1}: ${equal} of ${replay.tokens.length} tokens equal, then ${verdict === 'near tie' ? 'two all but equally likely tokens changed places' : 'others'}`,
    );
  }
  return { name, outcome: failed ? 'failed' : 'passed', details };
}

/** The record, or the check that says that there is none. */
export async function recordOf(adapter: Directory): Promise<TrainingRecord | Check> {
  return (
    (await readRecord(adapter)) ?? {
      name: 'training record',
      outcome: 'skipped',
      details: ['there is none: base, tokenizer and answers cannot be compared with training'],
    }
  );
}
