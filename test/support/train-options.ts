import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { modelFiles, TINY_CONFIG, toJsonl } from './tiny-model.js';
import { lowrank } from './cli.js';
import { coveringRows, type Choice } from './covering.js';

/** Options that make one level of a factor; `{}` stands for the folder of {@link writeInputs}. */
type Levels = Readonly<Record<string, readonly string[]>>;

/**
 * What `lowrank train` can be told, as factors with levels. The first level of each goes with every level of every
 * other factor; what does not go together else stands in `CONTRADICTIONS`.
 */
export const FACTORS: Readonly<Record<string, Levels>> = {
  model: { llama: ['model={}/llama'], tied: ['model={}/tied'], gpt2: ['model={}/gpt2'] },
  method: {
    lora: ['adapter.r=4'],
    prompt: ['adapter.method=prompt_tuning', 'adapter.num_virtual_tokens=3'],
    'prompt of text': [
      'adapter.method=prompt_tuning',
      'adapter.prompt_tuning_init=TEXT',
      'adapter.prompt_tuning_init_text=red',
    ],
    houlsby: ['adapter.method=bottleneck', 'adapter.bottleneck_size=4'],
    pfeiffer: [
      'adapter.method=bottleneck',
      'adapter.reduction_factor=8',
      'adapter.placement=pfeiffer',
      'adapter.non_linearity=gelu',
    ],
    layers: ['adapter.method=layers'],
    'norms and head': ['adapter.method=layers', 'adapter.train_norms=true', 'adapter.train_head=true'],
    full: ['adapter.method=full'],
  },
  quantization: {
    none: [],
    nf4: ['quantization.load_in_4bit=true'],
    'nf4 without double': ['quantization.load_in_4bit=true', 'quantization.bnb_4bit_use_double_quant=false'],
    fp4: [
      'quantization.load_in_4bit=true',
      'quantization.bnb_4bit_quant_type=fp4',
      'quantization.bnb_4bit_blocksize=128',
    ],
    'fp4 without double': [
      'quantization.load_in_4bit=true',
      'quantization.bnb_4bit_quant_type=fp4',
      'quantization.bnb_4bit_use_double_quant=false',
    ],
  },
  start: {
    true: [],
    gaussian: ['adapter.init_lora_weights=gaussian'],
    pissa: ['adapter.init_lora_weights=pissa'],
    pissa_niter: ['adapter.init_lora_weights=pissa_niter_2'],
    loftq: ['adapter.init_lora_weights=loftq'],
    init_from: ['adapter.init_from={}/adapter'],
  },
  use_dora: { false: [], true: ['adapter.use_dora=true'] },
  use_rslora: { false: [], true: ['adapter.use_rslora=true'] },
  loraplus: { none: [], four: ['adapter.loraplus_lr_ratio=4'] },
  lora_dropout: { none: [], some: ['adapter.lora_dropout=0.1'] },
  target_modules: {
    'all-linear': [],
    some: ['adapter.target_modules=[o_proj]'],
    expression: ['adapter.target_modules=.*v_proj'],
    embedding: ['adapter.target_modules=[o_proj, embed_tokens]'],
    head: ['adapter.target_modules=[o_proj, lm_head]'],
  },
  exclude_modules: { none: [], some: ['adapter.exclude_modules=[k_proj]'] },
  layers_to_transform: { all: [], last: ['adapter.layers_to_transform=[1]'] },
  patterns: {
    none: [],
    rank: ['adapter.rank_pattern={o_proj|v_proj: 2}'],
    alpha: ['adapter.alpha_pattern={o_proj|v_proj: 5}'],
  },
  modules_to_save: {
    none: [],
    head: ['adapter.modules_to_save=[lm_head]'],
    embedding: ['adapter.modules_to_save=[embed_tokens]'],
    norm: ['adapter.modules_to_save=[norm]'],
  },
  tokens: {
    none: [],
    trained: ['adapter.trainable_token_indices=[1, 2, 3]'],
    added: ['adapter.added_tokens=["<is>"]'],
  },
  train: {
    rows: ['data.train={}/rows.jsonl'],
    array: ['data.train={}/rows.json'],
    csv: ['data.train={}/rows.csv'],
    parquet: ['data.train={}/rows.parquet'],
    two: ['data.train=[{}/rows.jsonl, {}/rows.csv]'],
    weighted: ['data.train=[{path: {}/rows.jsonl, weight: 1}, {path: {}/rows.csv, weight: 3}]'],
    messages: ['data.train={}/messages.jsonl'],
    tokens: ['data.train={}/tokens.jsonl'],
  },
  template: {
    none: [],
    one: ['data.template="{{ prompt }} is "', 'data.completion_field=completion'],
    several: ['data.template=["{{ prompt }} is ", "what is {{ prompt }} "]', 'data.completion_field=completion'],
    whole: ['data.template="{{ prompt }} is {{ completion }}"'],
    fields: ['data.prompt_field=completion', 'data.completion_field=prompt'],
  },
  train_on: { completion: [], all: ['data.train_on=all'] },
  max_length: { long: [], short: ['data.max_length=20'] },
  packing: { false: [], true: ['data.packing=true'] },
  streaming: { false: [], true: ['data.streaming=true'] },
  shuffle: { true: [], false: ['data.shuffle=false'] },
  max_train_samples: { all: [], seven: ['data.max_train_samples=7'] },
  validation: { file: ['data.validation={}/validation.jsonl'], split: ['data.validation_split=0.2'], none: [] },
  test: { none: [], file: ['data.test={}/validation.jsonl'] },
  length: {
    epochs: ['training.num_train_epochs=2'],
    steps: ['training.max_steps=5'],
    'half an epoch': ['training.num_train_epochs=1.5'],
  },
  accumulation: { none: [], three: ['training.gradient_accumulation_steps=3'] },
  gradient_checkpointing: { false: [], true: ['training.gradient_checkpointing=true'] },
  optim: { adamw: [], paged: ['training.optim=paged_adamw'] },
  scheduler: {
    cosine: [],
    linear: ['training.lr_scheduler_type=linear'],
    constant: ['training.lr_scheduler_type=constant'],
    warm: ['training.lr_scheduler_type=constant_with_warmup'],
  },
  warmup: { none: [], steps: ['training.warmup_steps=2'], ratio: ['training.warmup_ratio=0.3'] },
  regularised: { false: [], true: ['training.weight_decay=0.1', 'training.max_grad_norm=0'] },
  eval_steps: { epoch: [], two: ['training.eval_steps=2'] },
  early_stopping: { none: [], one: ['training.early_stopping_patience=1', 'training.early_stopping_threshold=0.5'] },
  load_best: { true: [], false: ['training.load_best_model_at_end=false'] },
  save: {
    epoch: [],
    steps: ['training.save_strategy=steps', 'training.save_steps=2'],
    no: ['training.save_strategy=no'],
  },
  save_total_limit: { none: [], one: ['training.save_total_limit=1'] },
  logging_steps: {
    each: ['training.logging_steps=1'],
    third: ['training.logging_steps=3'],
    never: ['training.logging_steps=100'],
  },
};

/** A level by the names of its factor and its own. */
export type Level = readonly [factor: string, level: string];

export interface Contradiction {
  /** Each of another factor. */
  readonly levels: readonly Level[];
  /** Both options, as the message names them. */
  readonly named: readonly [string, string];
  /** Of the command: 3 where the rows are not what the options take them for. */
  readonly status: 2 | 3;
}

/** The factors whose options belong to LoRA, with the option that says so. */
const OF_LORA: Readonly<Record<string, string>> = {
  start: 'adapter.init_lora_weights',
  use_dora: 'adapter.use_dora',
  use_rslora: 'adapter.use_rslora',
  loraplus: 'adapter.loraplus_lr_ratio',
  lora_dropout: 'adapter.lora_dropout',
  target_modules: 'adapter.target_modules',
  exclude_modules: 'adapter.exclude_modules',
  layers_to_transform: 'adapter.layers_to_transform',
  patterns: '_pattern',
  modules_to_save: 'adapter.modules_to_save',
  tokens: 'adapter.',
};

function levelsOf(factor: string, ...except: readonly string[]): Level[] {
  return Object.keys(FACTORS[factor] ?? {})
    .slice(1)
    .filter((level) => !except.includes(level))
    .map((level) => [factor, level]);
}

function between(
  first: readonly Level[],
  second: readonly Level[],
  named: readonly [string, string],
  status: 2 | 3 = 2,
): Contradiction[] {
  return first.flatMap((a) => second.map((b) => ({ levels: [a, b], named, status })));
}

/** A tied output layer is trained with the embedding's rows. */
function whereTied(contradictions: readonly Contradiction[]): Contradiction[] {
  return levelsOf('model').flatMap((model) =>
    contradictions.map((each) => ({ ...each, levels: [model, ...each.levels] })),
  );
}

const OTHER_METHODS = levelsOf('method');

/** What does not go together, every pair of levels for itself. */
export const CONTRADICTIONS: readonly Contradiction[] = [
  ...Object.entries(OF_LORA).flatMap(([factor, option]) =>
    between(OTHER_METHODS, levelsOf(factor, 'init_from'), [option, 'belongs to method lora']),
  ),
  ...between(OTHER_METHODS, [['start', 'init_from']], ['adapter.init_from', 'adapter.method']),
  ...between([['method', 'full']], levelsOf('quantization'), ['adapter.method full', 'quantization.load_in_4bit']),
  ...between(
    [
      ['method', 'prompt'],
      ['method', 'prompt of text'],
    ],
    [['packing', 'true']],
    ['adapter.method prompt_tuning', 'data.packing'],
  ),
  ...between([['start', 'init_from']], [['model', 'gpt2']], ['adapter.init_from', 'does not go with model']),
  ...between([['start', 'init_from']], [['use_dora', 'true']], ['adapter.init_from', 'adapter.use_dora']),
  ...between([['start', 'init_from']], [['use_rslora', 'true']], ['adapter.init_from', 'adapter.use_rslora']),
  ...between([['start', 'init_from']], levelsOf('target_modules'), ['adapter.init_from', 'adapter.target_modules']),
  ...between([['start', 'init_from']], levelsOf('exclude_modules'), ['adapter.init_from', 'adapter.exclude_modules']),
  ...between([['start', 'init_from']], levelsOf('layers_to_transform'), [
    'adapter.init_from',
    'adapter.layers_to_transform',
  ]),
  ...between([['start', 'init_from']], levelsOf('patterns'), ['adapter.init_from', '_pattern']),
  ...between([['start', 'init_from']], levelsOf('modules_to_save'), ['adapter.init_from', 'adapter.modules_to_save']),
  ...between(
    [['start', 'init_from']],
    [['tokens', 'trained']],
    ['adapter.init_from', 'adapter.trainable_token_indices'],
  ),
  ...between([['start', 'init_from']], [['tokens', 'added']], ['adapter.init_from', 'adapter.added_tokens']),
  ...between([['target_modules', 'embedding']], levelsOf('tokens'), ['target_modules', 'added_tokens']),
  ...between([['target_modules', 'head']], [['tokens', 'added']], ['target_modules', 'added_tokens']),
  ...between([['modules_to_save', 'embedding']], levelsOf('tokens'), ['modules_to_save', 'added_tokens']),
  ...between([['modules_to_save', 'head']], [['tokens', 'added']], ['modules_to_save', 'added_tokens']),
  ...whereTied(between([['target_modules', 'head']], [['tokens', 'trained']], ['target_modules', 'added_tokens'])),
  ...whereTied(between([['modules_to_save', 'head']], [['tokens', 'trained']], ['modules_to_save', 'added_tokens'])),
  ...between([['target_modules', 'expression']], levelsOf('layers_to_transform'), [
    'adapter.layers_to_transform',
    'adapter.target_modules',
  ]),
  ...between([['validation', 'none']], levelsOf('eval_steps'), ['training.eval_steps', 'data.validation']),
  ...between([['validation', 'none']], levelsOf('early_stopping'), [
    'training.early_stopping_patience',
    'data.validation',
  ]),
  ...between(
    [
      ['train', 'messages'],
      ['train', 'tokens'],
    ],
    levelsOf('template'),
    ['bad rows', 'the row has'],
    3,
  ),
  ...between([['train', 'messages']], [['max_length', 'short']], ['max_length', 'messages'], 3),
  ...between([['template', 'whole']], [['max_length', 'short']], ['max_length', 'rows'], 3),
];

/**
 * Rows that make every pair of levels that go together, or with strength 3 every triple.
 * @param factors that are told apart; all others stay at their first level.
 */
export function trainRows(
  strength: number,
  { factors = FACTORS, seed = 1 }: { readonly factors?: typeof FACTORS; readonly seed?: number } = {},
): Level[][] {
  const names = Object.keys(factors);
  const levels = names.map((name) => Object.keys(factors[name] ?? {}));
  const nameOf = ({ factor, level }: Choice): Level => [
    names[factor] as string,
    (levels[factor] as string[])[level] as string,
  ];
  const rows = coveringRows({
    levels: levels.map((each) => each.length),
    excluded: (choices) => contradicts(choices.map(nameOf)),
    strength,
    seed,
  });
  return rows.map((row) => row.map((level, factor) => nameOf({ factor, level })));
}

/** Levels that differ little from another of their factor: a suite that shall be quick leaves them out. */
const SIMILAR: Readonly<Record<string, readonly string[]>> = {
  method: ['prompt of text', 'houlsby', 'layers'],
  quantization: ['fp4'],
  start: ['gaussian', 'pissa'],
  target_modules: ['some'],
  train: ['two', 'csv', 'array'],
  template: ['one'],
  validation: ['none'],
  scheduler: ['linear'],
};

/** {@link FACTORS} with what differs. */
export const MAIN_FACTORS: typeof FACTORS = Object.fromEntries(
  Object.entries(FACTORS).map(([factor, levels]) => [
    factor,
    Object.fromEntries(Object.entries(levels).filter(([level]) => SIMILAR[factor]?.includes(level) !== true)),
  ]),
);

/** Contradictions by their first level: most choices have none. */
const BY_LEVEL = new Map<string, Contradiction[]>();
for (const each of CONTRADICTIONS) {
  const key = (each.levels[0] as Level).join('=');
  BY_LEVEL.set(key, [...(BY_LEVEL.get(key) ?? []), each]);
}

function contradicts(chosen: readonly Level[]): boolean {
  const all = new Set(chosen.map((level) => level.join('=')));
  return [...all].some(
    (key) => BY_LEVEL.get(key)?.some(({ levels }) => levels.every((level) => all.has(level.join('=')))) === true,
  );
}

/** What every run has, unless it is about that. */
const COMMON = [
  'device=wasm',
  'data.max_length=32',
  'training.per_device_train_batch_size=4',
  'training.learning_rate=0.01',
];

/** The rows: 14 of texts, of letters that the tokenizer has. */
const WORDS = ['red', 'blue', 'green', 'grey', 'a pale yellow', 'pink', 'white'];
const ROWS = Array.from({ length: 14 }, (_, i) => ({
  prompt: WORDS[i % 7] as string,
  completion: `a colour no ${'abcdefghijklmn'[i]}.`,
}));

const LETTERS = [...'_<>abcdefghijklmnopqrstuvwxyz .!'];
const TOKENIZER = {
  version: '1.0',
  added_tokens: [],
  model: { type: 'BPE', vocab: Object.fromEntries(LETTERS.map((letter, id) => [letter, id])), merges: [] },
};
const CHAT_TEMPLATE =
  '{% for message in messages %}{{ message.role }}! {{ message.content }}. {% endfor %}{% if add_generation_prompt %}assistant! {% endif %}';

const MODELS = {
  llama: TINY_CONFIG,
  tied: { ...TINY_CONFIG, model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'], tie_word_embeddings: true },
  gpt2: {
    model_type: 'gpt2',
    n_embd: 32,
    n_head: 4,
    n_layer: 2,
    n_positions: 64,
    vocab_size: 32,
    bos_token_id: 1,
    eos_token_id: 2,
  },
};

/** What GPT-2 calls the modules of a Llama that the levels name. */
const OF_GPT2: Readonly<Record<string, string>> = {
  o_proj: 'c_proj',
  v_proj: 'c_attn',
  k_proj: 'c_fc',
  embed_tokens: 'wte',
  norm: 'ln_f',
};

/** Models, data, and adapters to go on from. */
export async function writeInputs(folder: string): Promise<void> {
  for (const [name, config] of Object.entries(MODELS)) {
    await mkdir(join(folder, name), { recursive: true });
    const tokenizer = {
      'tokenizer.json': JSON.stringify(TOKENIZER),
      'tokenizer_config.json': JSON.stringify({ chat_template: CHAT_TEMPLATE }),
    };
    for (const [file, content] of Object.entries({ ...modelFiles(config), ...tokenizer }))
      await writeFile(join(folder, name, file), content);
  }
  const { parquetWriteBuffer } = await import('hyparquet-writer');
  const column = (name: 'prompt' | 'completion'): { name: string; data: string[]; type: 'STRING' } => ({
    name,
    data: ROWS.map((row) => row[name]),
    type: 'STRING',
  });
  const tokens = (row: (typeof ROWS)[number]): number[] =>
    [...`${row.prompt} ${row.completion}`].map((letter) => LETTERS.indexOf(letter));
  const files = {
    'rows.jsonl': toJsonl(ROWS),
    'rows.json': JSON.stringify(ROWS),
    'rows.csv': ['prompt,completion', ...ROWS.map((row) => `${row.prompt},${row.completion}`)].join('\n'),
    'rows.parquet': new Uint8Array(
      parquetWriteBuffer({ columnData: [column('prompt'), column('completion')], rowGroupSize: 5 }),
    ),
    'messages.jsonl': toJsonl(
      ROWS.map(({ prompt, completion }) => ({
        messages: [
          { role: 'user', content: prompt },
          { role: 'assistant', content: completion },
        ],
      })),
    ),
    'tokens.jsonl': toJsonl(ROWS.map((row) => ({ input_ids: tokens(row) }))),
    'validation.jsonl': toJsonl(ROWS.slice(0, 4)),
    'run.yaml': 'model: ./llama\ndata: {}\ntraining: {}\n',
  };
  for (const [file, content] of Object.entries(files)) await writeFile(join(folder, file), content);
  const { status, stderr } = await lowrank('train', ...argumentsOf(folder, 'adapter', [['length', 'steps']]));
  expect(status, stderr).toBe(0);
}

/**
 * Arguments of `lowrank train` for these levels, all other factors at their first one; the run is written to `name`.
 */
export function argumentsOf(folder: string, name: string, levels: readonly Level[]): string[] {
  const chosen = new Map(levels);
  const named = (set: string): string =>
    chosen.get('model') === 'gpt2'
      ? set.replace(/\b(?:[okv]_proj|embed_tokens|norm)\b/g, (module) => OF_GPT2[module] ?? module)
      : set;
  const sets = Object.entries(FACTORS).flatMap(([factor, all]) =>
    (all[chosen.get(factor) ?? (Object.keys(all)[0] as string)] ?? []).map(named),
  );
  return [
    join(folder, 'run.yaml'),
    ...[...COMMON, `training.output_dir=${join(folder, name)}`, ...sets].flatMap((set) => [
      '--set',
      set.replaceAll('{}', folder),
    ]),
  ];
}
