import { FormatError } from '../../errors.js';
import type { ModelConfig } from '../../model/config.js';
import type { LoraConfig, TokenIndices } from '../lora/config.js';
import { MODULE_PREFIX } from './tensors.js';

/** What torch.compile, FSDP and activation checkpointing put into module paths. */
const WRAPPERS = /(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)/g;
/** What DDP and DataParallel put in front. */
const PARALLEL = /^(?:module\.)+(?=base_model\.)|(?<=^base_model\.model\.)module\./g;
/** The name of the adapter, which PEFT itself takes out of a path when it saves. */
const NAMED =
  /\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|trainable_tokens_delta|modules_to_save)\.(?!weight$|bias$)([^.]+)(?=\.weight$|\.bias$|$)/;

/**
 * Tensors under the keys that PEFT writes: without what torch.compile (`_orig_mod.`), data parallelism (`module.`) and
 * the name of an adapter (`.default.`) leave in them where a state was saved past PEFT.
 * @throws FormatError where the file holds adapters of several names, or two keys become one
 */
export function canonicalKeys<T>(tensors: ReadonlyMap<string, T>, name: string): Map<string, T> {
  const names = new Set<string>();
  const renamed = new Map<string, T>();
  const twice: string[] = [];
  for (const [key, tensor] of tensors) {
    const bare = key
      .replace(WRAPPERS, (_, dot: string) => dot)
      .replace(/^\.|\.(?=\.)/g, '')
      .replace(PARALLEL, '');
    const canonical = bare.replace(NAMED, (_, part: string, adapter: string) => {
      names.add(adapter);
      return part === 'modules_to_save' ? '' : `.${part}`;
    });
    if (renamed.has(canonical)) twice.push(key);
    renamed.set(canonical, tensor);
  }
  if (names.size > 1)
    throw new FormatError(
      `${name}: holds the adapters ${[...names].sort().join(', ')} in one file, allowed one: save each by itself, with PEFT's save_pretrained`,
    );
  if (twice.length > 0)
    throw new FormatError(
      `${name}: ${twice.slice(0, 3).join(', ')}${twice.length > 3 ? ` and ${twice.length - 3} more` : ''}: there twice, once without what a wrapper puts into names`,
    );
  return renamed;
}

/** As {@link renamedConfig}, for the keys of tensors. */
export function renamedKeys<T>(
  { family: { modules } }: ModelConfig,
  tensors: ReadonlyMap<string, T>,
): ReadonlyMap<string, T> {
  const { head, storedHead } = modules;
  if (storedHead === undefined) return tensors;
  const old = `${MODULE_PREFIX}${storedHead}.`;
  return new Map(
    [...tensors].map(([key, tensor]) => [
      key.startsWith(old) ? `${MODULE_PREFIX}${head}.${key.slice(old.length)}` : key,
      tensor,
    ]),
  );
}

/**
 * The configuration with the output layer by the name of its module, which PEFT matches, where the file has the name
 * that checkpoints keep (`embed_out` of GPT-NeoX, until transformers 4 a module too).
 */
export function renamedConfig({ family: { modules } }: ModelConfig, config: LoraConfig): LoraConfig {
  const { head, storedHead } = modules;
  if (storedHead === undefined) return config;
  const word = new RegExp(`\\b${storedHead}\\b`, 'g');
  const text = (value: string): string => value.replace(word, head);
  const texts = <V extends string | readonly string[] | undefined>(value: V): V =>
    (typeof value === 'string'
      ? text(value)
      : Array.isArray(value)
        ? (value as readonly string[]).map(text)
        : value) as V;
  const keys = <V>(values: Readonly<Record<string, V>>): Record<string, V> =>
    Object.fromEntries(Object.entries(values).map(([key, value]) => [text(key), value]));
  const {
    targetModules,
    excludeModules,
    modulesToSave,
    trainableTokenIndices: rows,
    rankPattern,
    alphaPattern,
  } = config;
  return {
    ...config,
    targetModules: texts(targetModules),
    rankPattern: keys(rankPattern),
    alphaPattern: keys(alphaPattern),
    ...(excludeModules === undefined ? {} : { excludeModules: texts(excludeModules) }),
    ...(modulesToSave === undefined ? {} : { modulesToSave: texts(modulesToSave) }),
    ...(rows === undefined || Array.isArray(rows)
      ? {}
      : { trainableTokenIndices: keys(rows as Exclude<TokenIndices, readonly number[]>) }),
  };
}
