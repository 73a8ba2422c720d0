/** Where the run was made, and how it was watched: of no use to who reads about its result. */
const OF_THE_MACHINE = new Set([
  'train',
  'validation',
  'test',
  'init_from',
  'output_dir',
  'overwrite_output_dir',
  'logging_dir',
  'report_to',
  'logging_steps',
  'save_total_limit',
  'resume_from_checkpoint',
]);

/** Values with which a feature is off. */
const OFF: Readonly<Record<string, unknown>> = {
  ...{
    lora_dropout: 0,
    use_rslora: false,
    use_dora: false,
    bias: 'none',
    loraplus_lr_ratio: 1,
    train_norms: false,
    train_head: false,
  },
  ...{ packing: false, streaming: false, max_steps: -1, gradient_checkpointing: false, gradient_accumulation_steps: 1 },
  objective: 'token_mean',
  momentum: 0,
  ...{ warmup_steps: 0, warmup_ratio: 0, weight_decay: 0, max_grad_norm: 0 },
};

type Section = Readonly<Record<string, unknown>>;

/** Settings that mean something only beside others. */
const NEEDS: Readonly<
  Record<
    string,
    (sections: { readonly adapter: Section; readonly data: Section; readonly training: Section }) => boolean
  >
> = {
  num_train_epochs: ({ training }) => !(Number(training['max_steps']) > 0),
  early_stopping_threshold: ({ training }) => training['early_stopping_patience'] !== undefined,
  loftq_config: ({ adapter }) => adapter['init_lora_weights'] === 'loftq',
  prompt_tuning_init_text: ({ adapter }) => adapter['prompt_tuning_init'] === 'TEXT',
  per_device_eval_batch_size: ({ data }) => hasValidation(data),
  load_best_model_at_end: ({ data }) => hasValidation(data),
};

function hasValidation(data: Section): boolean {
  return data['validation'] !== undefined || data['validation_split'] !== undefined;
}

/**
 * The settings of a run that decided about its result, by section: without those of features that were off, and without
 * paths.
 * @param config of a run, as it was checked or as its config.yaml has it
 */
export function settingsInForce(config: object): Record<string, Section> {
  const sectionOf = (name: string): Section => {
    const section: unknown = (config as Section)[name];
    return typeof section === 'object' && section !== null ? (section as Section) : {};
  };
  const quantization = sectionOf('quantization');
  const sections = { adapter: sectionOf('adapter'), data: sectionOf('data'), training: sectionOf('training') };
  const kept = Object.entries(sections).map(([name, section]): [string, Section] => {
    const entries = Object.entries(section).filter(
      ([key, value]) => !OF_THE_MACHINE.has(key) && isOn(key, value) && NEEDS[key]?.(sections) !== false,
    );
    return [name, Object.fromEntries(entries.map(([key, value]) => [key, withoutFolders(value)]))];
  });
  return {
    ...(quantization['load_in_4bit'] === true ? { quantization } : {}),
    ...Object.fromEntries(kept.filter(([, section]) => Object.keys(section).length > 0)),
  };
}

function isOn(key: string, value: unknown): boolean {
  if (value === undefined || value === null) return false;
  return !(key in OFF) || OFF[key] !== value;
}

/** An absolute path becomes the name of its file, in lists and sections too; other values stay. */
export function withoutFolders(value: unknown): unknown {
  if (typeof value === 'string')
    return /^(?:\/|~\/|[A-Za-z]:[\\/]|\\\\)[^\n{}]*$/.test(value)
      ? (value
          .split(/[\\/]/)
          .filter((part) => part !== '')
          .at(-1) ?? value)
      : value;
  if (Array.isArray(value)) return value.map(withoutFolders);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withoutFolders(each)]));
  return value;
}
