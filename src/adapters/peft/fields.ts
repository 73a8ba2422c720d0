import * as z from 'zod';
import { FormatError } from '../../errors.js';

/** The version of PEFT whose file layout is written. */
export const PEFT_VERSION = '0.21.0';

/** What every adapter_config.json says: the kind of adapter and its base model. */
export interface SavedConfig {
  readonly peftType: string;
  readonly baseModel: string | undefined;
  readonly revision: string | undefined;
}

/** The fields of it, for a schema. */
export const commonFields = { base_model_name_or_path: z.string().nullish(), revision: z.string().nullish() };

export function readCommon(fields: {
  base_model_name_or_path?: string | null | undefined;
  revision?: string | null | undefined;
}): Omit<SavedConfig, 'peftType'> {
  return { baseModel: fields.base_model_name_or_path ?? undefined, revision: fields.revision ?? undefined };
}

/** The fields that every file has, as they are written. */
export function writtenCommon({ peftType, baseModel, revision }: SavedConfig): Record<string, unknown> {
  return {
    auto_mapping: null,
    base_model_name_or_path: baseModel ?? null,
    inference_mode: true,
    modules_to_save: null,
    peft_type: peftType,
    peft_version: PEFT_VERSION,
    revision: revision ?? null,
    task_type: 'CAUSAL_LM',
  };
}

/** Fields of an adapter_config.json. @throws FormatError naming the file and each wrong field. */
export function parseFields<T>(schema: z.ZodType<T>, json: unknown, name: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new FormatError(
    `${name}: ${parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`).join('; ')}`,
  );
}

/** adapter_config.json as PEFT writes it: sorted keys, two spaces, no newline at the end. */
export function serializeFields(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))), null, 2);
}
