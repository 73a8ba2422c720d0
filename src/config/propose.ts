import { stringify } from 'yaml';
import { visibleLine } from '../text.js';

/** What is known of a run before its config is written. */
export interface ConfigFacts {
  /** As the config names it; `chosen` where nobody named one. */
  readonly model: {
    readonly name: string;
    readonly chosen: boolean;
    readonly parameters?: number | undefined;
    readonly context?: number | undefined;
  };
  readonly data: {
    readonly train: string;
    readonly validation?: string | undefined;
    readonly rows: number;
    /** One line about what the rows are. */
    readonly description: string;
    readonly columns: readonly string[];
    /** How the text is made, with a line about each choice. */
    readonly options: Readonly<Record<string, unknown>>;
    readonly notes: readonly string[];
    /** Of tokens, or of characters where there is no tokenizer to count with. */
    readonly lengths: {
      readonly unit: 'tokens' | 'characters';
      readonly rows: number;
      readonly p50: number;
      readonly p95: number;
      readonly max: number;
    };
  };
  /** Tokens that the chat template writes and the tokenizer has in pieces. */
  readonly addedTokens: readonly string[];
  readonly outputDir: string;
  readonly maxLength: number;
  readonly epochs: number;
}

/** Rows of a micro-batch, and the micro-batches of a step where there are rows enough for it. */
const BATCH = 4;
const BIG = 1e9;
const SMALL = 3e8;

/**
 * The longest rows where few are cut and a model of this context takes them, else 95 in a hundred; a multiple of 32.
 */
export function proposeMaxLength(
  { unit, p95, max }: ConfigFacts['data']['lengths'],
  context: number | undefined,
): number {
  const tokens = (length: number): number => (unit === 'tokens' ? length : Math.ceil(length / 3));
  const wanted = max <= 2 * p95 && tokens(max) <= 2048 ? tokens(max) : tokens(p95);
  return Math.max(2, Math.min(Math.max(32, Math.ceil(wanted / 32) * 32), 4096, context ?? Infinity));
}

export function proposeEpochs(rows: number): number {
  return rows < 200 ? 5 : rows < 10_000 ? 3 : 1;
}

/** The part of the rows for validation: a tenth, of many rows at most 500; undefined of fewer than 20. */
export function proposeValidation(rows: number): number | undefined {
  if (rows < 20) return undefined;
  return rows <= 5000 ? 0.1 : Number((500 / rows).toPrecision(1));
}

/** A config with a comment on each choice, as YAML. */
export function writeProposal(facts: ConfigFacts): string {
  const { model, data, addedTokens, outputDir, maxLength, epochs } = facts;
  const split = data.validation === undefined ? proposeValidation(data.rows) : undefined;
  const trained = data.rows - Math.round(data.rows * (split ?? 0));
  const accumulation = trained >= 2000 ? 4 : 1;
  const steps = Math.ceil(trained / (BATCH * accumulation));
  const big = model.parameters !== undefined && model.parameters >= BIG;
  const rate = model.parameters !== undefined && model.parameters < SMALL ? 5e-4 : 2e-4;
  const { unit, p50, p95, max, rows } = data.lengths;
  const counted = rows < data.rows ? ` (of ${rows} rows)` : '';
  const cut =
    unit === 'characters'
      ? ' Estimated by three characters a token: name a model to have them counted.'
      : maxLength < max
        ? ' Longer rows are cut at max_length: the end of them is not learnt.'
        : '';
  const size =
    model.parameters === undefined
      ? []
      : [
          `${(model.parameters / 1e6).toFixed(model.parameters < 1e7 ? 1 : 0)} million parameters, context ${model.context ?? '?'}`,
        ];
  return [
    ...comment('Written by lowrank init. All options: lowrank config-reference'),
    ...comment(
      ...(model.chosen
        ? ['No model was named. A folder is written ./models/NAME, anything else is an id on the Hub.']
        : size),
    ),
    ...lines({ model: model.name }),
    '',
    'quantization:',
    ...indented(
      comment(
        big
          ? 'A large base takes a quarter of the memory in 4 bits (QLoRA).'
          : 'true holds the base in 4 bits (QLoRA): a quarter of the memory, a little less exact.',
      ),
    ),
    ...indented(lines({ load_in_4bit: big })),
    '',
    'adapter:',
    ...indented(
      comment(
        'LoRA on every linear layer. More rank learns more and takes more memory; the update is scaled by lora_alpha / r.',
      ),
    ),
    ...indented(lines({ r: 16, lora_alpha: 32, lora_dropout: 0.05 })),
    ...(addedTokens.length === 0
      ? []
      : indented([
          ...comment(
            'The chat template writes these, and the tokenizer has them in pieces. As tokens of their own they are trained along:',
          ),
          `# added_tokens: ${JSON.stringify(addedTokens)}`,
        ])),
    '',
    'data:',
    ...indented(comment(`${data.rows} rows, columns ${data.columns.join(', ')}`, data.description)),
    ...indented(lines({ train: data.train })),
    ...(data.validation !== undefined
      ? indented(lines({ validation: data.validation }))
      : split === undefined
        ? indented([...comment('Too few rows to hold some out for validation; with more:'), '# validation_split: 0.1'])
        : indented([
            ...comment(`${data.rows - trained} rows are held out, and the adapter of the best evaluation is kept.`),
            ...lines({ validation_split: split }),
          ])),
    ...indented(comment(...data.notes)),
    ...indented(lines(data.options)),
    ...indented(
      comment(
        `${unit === 'tokens' ? 'Tokens' : 'Characters'} of a row${counted}: half have at most ${p50}, 95% at most ${p95}, the longest ${max}.${cut}`,
      ),
    ),
    ...indented(lines({ max_length: maxLength })),
    '',
    'training:',
    ...indented(lines({ output_dir: outputDir })),
    ...indented(
      comment(
        `${trained} rows in batches of ${BATCH * accumulation} are ${steps} steps an epoch, ${Math.ceil(steps * epochs)} in all.`,
      ),
    ),
    ...indented(
      lines({
        num_train_epochs: epochs,
        per_device_train_batch_size: BATCH,
        gradient_accumulation_steps: accumulation,
      }),
    ),
    ...indented(comment('Usual for LoRA; full training takes about a tenth of it.')),
    ...indented(lines({ learning_rate: rate, lr_scheduler_type: 'cosine', warmup_ratio: 0.03 })),
    '',
  ].join('\n');
}

function lines(values: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(values).length === 0 ? [] : stringify(values, { lineWidth: 0 }).trimEnd().split('\n');
}

function comment(...texts: readonly string[]): string[] {
  return texts.map((text) => `# ${visibleLine(text)}`);
}

function indented(texts: readonly string[]): string[] {
  return texts.map((text) => (text === '' ? '' : `  ${text}`));
}
