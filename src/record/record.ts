import * as z from 'zod';
import { FormatError } from '../errors.js';
import { readJson, type Directory } from '../io/directory.js';

/** Beside an adapter: what it was trained on and with, and what it says to some prompts. PEFT ignores the file. */
export const RECORD_FILE = 'training_record.json';

const hashes = z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/));
const ids = z.array(z.int().min(0));

const schema = z.object({
  format: z.literal(1),
  versions: z.record(z.string(), z.string()),
  device: z.string(),
  base: z.object({
    name: z.string(),
    revision: z.string().nullable(),
    model_type: z.string(),
    /** SHA-256 of the files that hold the weights. */
    files: hashes,
    /** How the linear layers were held in training; null for floats. Names as in a run's config. */
    quantization: z
      .object({
        bnb_4bit_quant_type: z.enum(['nf4', 'fp4']),
        bnb_4bit_use_double_quant: z.boolean(),
        bnb_4bit_blocksize: z.int().min(1),
      })
      .nullable(),
  }),
  /** SHA-256 of the tokenizer's files, the chat template among them. */
  tokenizer: hashes,
  data: z.array(
    z.object({
      part: z.string(),
      rows: z.int().min(0),
      tokens: z.int().min(0).nullable(),
      supervised_tokens: z.int().min(0).nullable(),
      files: hashes,
    }),
  ),
  parameters: z.object({ trainable: z.int().min(0), total: z.int().min(0) }),
  results: z.record(z.string(), z.number()),
  replays: z.array(z.object({ prompt: ids, tokens: ids, margins: z.array(z.number()) })),
});

/** As it lies in {@link RECORD_FILE}. */
export type TrainingRecord = z.infer<typeof schema>;

export function serializeRecord(record: TrainingRecord): string {
  return `${JSON.stringify(record, null, 1)}\n`;
}

/**
 * The record of an adapter directory; undefined for an adapter that was not made here. @throws FormatError naming each
 * wrong field.
 */
export async function readRecord(directory: Directory): Promise<TrainingRecord | undefined> {
  const json = await readJson(directory, RECORD_FILE);
  if (json === undefined) return undefined;
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
  throw new FormatError(`${directory.name}/${RECORD_FILE}: ${problems.join('; ')}`);
}
