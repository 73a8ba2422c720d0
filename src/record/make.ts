import * as tf from '@tensorflow/tfjs-core';
import type { ParameterCounts } from '../adapters/counts.js';
import type { RunConfig } from '../config/schema.js';
import type { DatasetStats } from '../data/parts.js';
import type { Examples } from '../data/examples.js';
import { recordReplays } from '../eval/replay.js';
import type { Directory } from '../io/directory.js';
import type { Decoder } from '../model/decoder.js';
import { VERSION } from '../version.js';
import { hashTokenizer, hashWeights } from './hashes.js';
import type { TrainingRecord } from './record.js';

/** What a finished run knows of itself. */
export interface RecordSource {
  readonly config: RunConfig;
  readonly base: { readonly model: string; readonly revision?: string };
  readonly model: Directory;
  /** With the trained adapter. */
  readonly decoder: Decoder;
  readonly device: { readonly name: string; readonly description: string };
  /** By part; `files` are the SHA-256 of its sources. */
  readonly data: readonly {
    readonly part: string;
    readonly stats: DatasetStats;
    readonly files: Readonly<Record<string, string>>;
  }[];
  /** Rows whose beginnings are the prompts to replay. */
  readonly prompts: Examples;
  readonly counts: ParameterCounts;
  readonly results: Readonly<Record<string, number | undefined>>;
}

/** Prompts that are replayed, and new tokens of each. */
const REPLAYS = 3;
const NEW_TOKENS = 16;

/** Describes a run. Nothing in it depends on the clock: the same run gives the same record. */
export async function makeRecord(source: RecordSource): Promise<TrainingRecord> {
  const { config, base, model, decoder, device, counts } = source;
  const { load_in_4bit: quantized, ...quantization } = config.quantization;
  const prompts = await promptsOf(source.prompts, decoder.config.maxPositions - NEW_TOKENS);
  return {
    format: 1,
    versions: versionsHere(),
    device: `${device.name} (${device.description})`,
    base: {
      name: base.model,
      revision: base.revision ?? null,
      model_type: decoder.config.family.modelType,
      files: await hashWeights(model),
      quantization: quantized ? quantization : null,
    },
    tokenizer: await hashTokenizer(model),
    data: source.data.map(({ part, stats, files }) => ({
      part,
      rows: stats.rows,
      tokens: stats.tokens ?? null,
      supervised_tokens: stats.supervisedTokens ?? null,
      files: { ...files },
    })),
    parameters: { trainable: counts.trainable, total: counts.total },
    results: Object.fromEntries(
      Object.entries(source.results).filter((entry): entry is [string, number] => Number.isFinite(entry[1])),
    ),
    replays: await recordReplays(decoder, prompts, NEW_TOKENS),
  };
}

/** Of what computed; a browser tells none of its own. */
function versionsHere(): Record<string, string> {
  const { process } = globalThis as { readonly process?: { readonly versions?: { readonly node?: string } } };
  const node = process?.versions?.node;
  return { lowrank: VERSION, '@tensorflow/tfjs': tf.version_core, ...(node === undefined ? {} : { node }) };
}

/**
 * The prompts of the first rows: what stands before the first learnt token, or a few tokens where everything is learnt.
 */
async function promptsOf(examples: Examples, longest: number): Promise<number[][]> {
  const prompts: number[][] = [];
  for (let i = 0; i < examples.length && prompts.length < REPLAYS; i++) {
    const example = await examples.at(i);
    if (example === undefined) break;
    // Of packed rows the first.
    const second = example.starts?.findIndex((start) => start > 0) ?? -1;
    const end = second < 0 ? example.inputIds.length : second;
    const learnt = example.labels.findIndex((label) => label >= 0);
    const length = Math.min(learnt > 1 ? Math.min(learnt, end) : Math.ceil(end / 4), longest);
    if (length > 0) prompts.push([...example.inputIds.slice(0, length)]);
  }
  return prompts;
}
