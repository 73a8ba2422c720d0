import * as z from 'zod';
import { allMethodOptions, METHOD_NAMES, METHOD_OPTIONS } from '../adapters/options.js';
import { count, fraction, text, textOrList } from '../option-types.js';

/**
 * The one description of a run's options. Types, defaults, command-line help, error messages and the reference page are
 * derived from it, so an option is added here and nowhere else. Names and defaults follow Hugging Face's
 * TrainingArguments, LoraConfig and BitsAndBytesConfig where these have the option; every option has a consumer.
 *
 * The metadata key `path` marks what is resolved against the folder of the config file (see paths.ts): `file` always,
 * `reference` only where the value is written as a path (`./…`, `../…`), because it may be a Hub id instead, `data`
 * unless it reads like a data set of the Hub.
 */

const quantization = z.strictObject({
  load_in_4bit: z.boolean().default(false).describe('Store the frozen linear weights in 4 bits (QLoRA).'),
  bnb_4bit_quant_type: z.enum(['nf4', 'fp4']).default('nf4').describe('The 16 values that a 4-bit code stands for.'),
  bnb_4bit_use_double_quant: z.boolean().default(true).describe('Quantise the block scales once more, to 8 bits.'),
  bnb_4bit_blocksize: z
    .union([64, 128, 256, 512, 1024, 2048, 4096].map((size) => z.literal(size)))
    .default(64)
    .describe('Weights that share one scale.'),
});

const adapter = z.strictObject({
  method: z
    .enum(METHOD_NAMES)
    .default('lora')
    .describe(
      `What is trained: ${METHOD_NAMES.map((method) => `\`${method}\`: ${METHOD_OPTIONS[method].summary}`).join('; ')}. ` +
        'The other options belong to one of them.',
    ),
  ...allMethodOptions,
});

const format = () =>
  z
    .enum([
      'auto',
      'text',
      'completion',
      'completion_messages',
      'messages',
      'sharegpt',
      'alpaca',
      'alpaca_chat',
      'tokens',
    ])
    .describe('What a row holds; `auto` detects it from the field names of the first row.');
const trainOn = () =>
  z.enum(['completion', 'all']).describe('Which tokens the loss counts: those of the completion, or all.');

/** How the text of a row is made; an entry of `data.train` may have its own. */
const textOptions = {
  template: textOrList()
    .exactOptional()
    .describe(
      'Jinja template of the prompt with the fields of the row as its variables, or the name `alpaca`; of a list each row ' +
        'draws one. Without a completion it is the whole text.',
    ),
  prompt_field: text().exactOptional().describe('Field of a row that holds the prompt.'),
  completion_field: text().exactOptional().describe('Field of a row that holds the completion.'),
  completion_template: text()
    .exactOptional()
    .describe('Jinja template of the completion, with the fields of the row as its variables.'),
  text_field: text().exactOptional().describe('Field of a row that holds a whole text, all of which is learnt.'),
  chat_template: text()
    .exactOptional()
    .describe(
      'Chat template in place of that of the tokenizer: `chatml`, `llama3`, `gemma`, `phi3`, `zephyr`, `mistral`, `alpaca`, a file (written `./…`, `../…` or absolute), or the Jinja text itself.',
    )
    .meta({ path: 'reference' }),
  chat_template_kwargs: z
    .record(z.string(), z.unknown())
    .exactOptional()
    .describe('Further variables of the chat template.'),
};

const entryOptions = {
  path: text()
    .describe('File, folder of data files, or data set of the Hub, as in the short form.')
    .meta({ path: 'data' }),
  split: text()
    .exactOptional()
    .describe(
      'Of a folder or a Hub data set, the files whose path names this split; where absent train, validation or test, as the option is called.',
    ),
  data_files: textOrList()
    .exactOptional()
    .describe(
      'Of a folder or a Hub data set, the files that match one of these patterns (`*`, `**`, `?`, `{a,b}`), whatever their split.',
    ),
  name: text().exactOptional().describe('What the data set is called in reports.'),
  format: format().exactOptional(),
  ...textOptions,
  train_on: trainOn().exactOptional(),
};

const entry = z.strictObject(entryOptions);
const weightedEntry = z.strictObject({
  ...entryOptions,
  weight: z
    .number()
    .gt(0)
    .exactOptional()
    .describe(
      'Share of the rows of an epoch that is drawn from here, in proportion to the weights of all entries; all of them have one or none. ' +
        'Without weights each row is drawn once an epoch. With them an epoch has as many rows as all entries together, exactly so many ' +
        'of each entry as its share says, and every row of an entry is drawn as often as any other of it, give or take one. With ' +
        'packing, rows are packed rows.',
    ),
});

const data = z.strictObject({
  train: z
    .union([text(), weightedEntry, z.array(z.union([text(), weightedEntry])).min(1)])
    .describe(
      'Training rows: a file (`.jsonl`, `.json`, `.csv`, `.tsv`, `.txt`, these also as `.gz` or `.zst`, `.parquet`), a pattern of files (`*`, `**`, `?`, `{a,b}`), a folder, or a data set of the Hub, written ' +
        '`org/name[@revision]` or `hub:name[@revision]`; or entries of these with options of their own; or a list.',
    )
    .meta({ path: 'data' }),
  validation: z
    .union([text(), entry, z.array(z.union([text(), entry])).min(1)])
    .exactOptional()
    .describe('Rows that the loss is evaluated on during training, given like data.train, without weights.')
    .meta({ path: 'data' }),
  test: z
    .union([text(), entry, z.array(z.union([text(), entry])).min(1)])
    .exactOptional()
    .describe('Rows that are evaluated once, after training, given like data.validation.')
    .meta({ path: 'data' }),
  validation_split: z
    .number()
    .gt(0)
    .lt(1)
    .exactOptional()
    .describe('Part of the training rows that is held out for validation.'),
  max_train_samples: count()
    .exactOptional()
    .describe(
      'Train on so many of the training rows, drawn by training.seed after validation_split: a smaller number takes a part of what a larger one takes.',
    ),
  format: format().default('auto'),
  ...textOptions,
  max_length: z.int().min(2).default(512).describe('Tokens of an example at most; longer ones are cut.'),
  packing: z
    .boolean()
    .default(false)
    .describe(
      'Put several training examples into one row of max_length tokens, so that little is padding. Each sees only itself, at its own ' +
        'positions: a batch of packed rows has the loss and the gradients of the same examples unpacked. Batch sizes count packed rows. With ' +
        'shuffle, and without weights, other examples of the same lengths share a row in each epoch.',
    ),
  streaming: z
    .boolean()
    .default(false)
    .describe(
      'Leave the rows in their files and encode each when it is drawn: for data larger than memory. Rows are checked before training, ' +
        'their tokens are only counted for packing, and what max_length leaves nothing to learn of adds nothing to a loss. Of Parquet ' +
        'a whole row group is decoded for a row, and 64 MiB of them are kept: small groups are faster.',
    ),
  train_on: trainOn().default('completion'),
  shuffle: z.boolean().default(true).describe('Draw a new order of the training rows for each epoch.'),
});

const training = z.strictObject({
  output_dir: text()
    .describe('Folder that the adapter, the checkpoints and the log are written to.')
    .meta({ path: 'file' }),
  overwrite_output_dir: z.boolean().default(false).describe('Replace what an earlier run left in output_dir.'),
  num_train_epochs: z.number().gt(0).default(3).describe('Passes over the training rows.'),
  max_steps: z
    .union([z.literal(-1), count()])
    .default(-1)
    .describe('Optimiser steps to train for; replaces num_train_epochs unless −1.'),
  per_device_train_batch_size: count().default(4).describe('Examples in a micro-batch.'),
  per_device_eval_batch_size: count().default(8).describe('Examples in a batch of an evaluation.'),
  gradient_accumulation_steps: count().default(1).describe('Micro-batches in an optimiser step.'),
  gradient_checkpointing: z
    .boolean()
    .default(false)
    .describe(
      'Keep only the input of each decoder layer for the backward pass and compute the rest again: less memory, more time.',
    ),
  objective: z
    .enum(['token_mean', 'sequence_mean'])
    .default('token_mean')
    .describe(
      'What is minimised: the cross-entropy of the next token, averaged over all supervised tokens of a step, or over the tokens of each row ' +
        'and then over the rows (`sequence_mean`), so that short answers count as much as long ones.',
    ),
  optim: z
    .enum(['adamw', 'paged_adamw', 'lion_32bit', 'paged_lion_32bit', 'sgd'])
    .default('adamw')
    .describe(
      'AdamW; Lion, which keeps one moment instead of two and takes a learning rate a third to a tenth as large; or stochastic gradient ' +
        'descent. What a `paged_` one keeps is in host memory, from where it is fetched in pages.',
    ),
  learning_rate: z.number().gt(0).default(2e-4).describe('Peak learning rate.'),
  lr_scheduler_type: z
    .enum(['cosine', 'linear', 'constant', 'constant_with_warmup'])
    .default('cosine')
    .describe('How the learning rate runs after the warm-up.'),
  warmup_steps: z.int().min(0).default(0).describe('Optimiser steps over which the learning rate rises from 0.'),
  warmup_ratio: fraction().default(0).describe('The same as a part of all steps.'),
  weight_decay: z
    .number()
    .min(0)
    .default(0)
    .describe('Weight decay, decoupled but for sgd. Norms and biases do not decay, as in transformers.'),
  adam_beta1: fraction()
    .default(0.9)
    .describe('Decay of the first moment of AdamW; of Lion, of the average in the direction of a step.'),
  adam_beta2: fraction().default(0.999).describe('Decay of the second moment of AdamW, of the one moment of Lion.'),
  adam_epsilon: z.number().gt(0).default(1e-8).describe('Added to the root of the second moment.'),
  momentum: fraction().default(0).describe('Momentum of sgd, as torch.optim.SGD has it; without it nothing is kept.'),
  max_grad_norm: z
    .number()
    .min(0)
    .default(1)
    .describe('Gradients are scaled down to this global norm; 0 leaves them alone.'),
  seed: z.int().min(0).default(42).describe('Seed of the initial weights, the order of the rows and dropout.'),
  logging_steps: count().default(10).describe('Optimiser steps between two lines of the log.'),
  report_to: z
    .union([z.enum(['none', 'tensorboard']), z.array(z.enum(['none', 'tensorboard']))])
    .default('none')
    .describe(
      'Who else is told the numbers of the log: `tensorboard` gets event files, as transformers names their values.',
    ),
  logging_dir: text()
    .exactOptional()
    .describe(
      'Folder of the event files, that of one run; `runs` in output_dir where absent. The runs of an ablation have a folder each in it.',
    )
    .meta({ path: 'file' }),
  eval_steps: count()
    .exactOptional()
    .describe('Optimiser steps between two evaluations on the validation rows; once an epoch where absent.'),
  save_strategy: z
    .enum(['no', 'epoch', 'steps'])
    .default('epoch')
    .describe(
      'When a checkpoint is written that a run can go on from: after each epoch, every save_steps, or never; with the first two also ' +
        'after the last step. A run that is stopped by Ctrl-C or SIGTERM writes one in any case.',
    ),
  save_steps: count()
    .exactOptional()
    .describe('Optimiser steps between two checkpoints with `save_strategy: steps`; 500 where absent.'),
  save_total_limit: count()
    .exactOptional()
    .describe('Checkpoints that are kept: the newest, and that of the best evaluation; all where absent.'),
  resume_from_checkpoint: z
    .union([z.boolean(), text()])
    .default(false)
    .describe(
      'Go on from a checkpoint, as --resume does: `true` takes the newest in output_dir that is whole, or starts a run where there is ' +
        'none yet; otherwise the folder of one.',
    )
    .meta({ path: 'file' }),
  early_stopping_patience: count()
    .exactOptional()
    .describe('Stop after this many evaluations in a row without a better validation loss.'),
  early_stopping_threshold: z
    .number()
    .min(0)
    .default(0)
    .describe('How much lower a validation loss must be to count as better.'),
  load_best_model_at_end: z
    .boolean()
    .default(true)
    .describe('Write the adapter of the best evaluation instead of the last step, where there are validation rows.'),
});

/** The one schema of a run: defaults, types, messages and the reference page. */
export const runConfigSchema = z.strictObject({
  model: text()
    .describe('Folder of a Hugging Face model (written `./…`, `../…` or absolute), or its id on the Hub.')
    .meta({ path: 'reference' }),
  model_revision: text().exactOptional().describe('Branch, tag or commit of a Hub model.'),
  device: z
    .enum(['auto', 'webgpu', 'wasm', 'node-gpu', 'node', 'cpu'])
    .default('auto')
    .describe('What computes; `auto` takes the fastest that the machine has.'),
  quantization: quantization.prefault({}).describe('How the frozen base model is stored.'),
  adapter: adapter.prefault({}).describe('What is trained.'),
  // The casts let a config that lacks a whole section be told which keys of it are required.
  data: data.prefault({} as z.input<typeof data>).describe('What it is trained on.'),
  training: training.prefault({} as z.input<typeof training>).describe('How it is trained.'),
});

/** A complete run: every default filled in, every path resolved. */
export type RunConfig = z.infer<typeof runConfigSchema>;

/** What a config file may hold: options with a default may be left out. */
export type RunConfigInput = z.input<typeof runConfigSchema>;
