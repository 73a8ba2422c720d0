import * as z from 'zod';
import { count, fraction, text, textOrList } from '../../option-types.js';
import { defineMethodOptions, initFrom } from '../method-options.js';

export const loraOptions = defineMethodOptions({
  summary: 'low-rank updates of linear layers',
  options: {
    r: count().default(8).describe('Rank of the update.'),
    lora_alpha: z
      .number()
      .gt(0)
      .default(16)
      .describe('The update is scaled by lora_alpha / r (lora_alpha / √r with use_rslora).'),
    lora_dropout: fraction().default(0).describe('Probability that an input of the adapter is dropped in training.'),
    target_modules: textOrList()
      .default('all-linear')
      .describe(
        'Which linear layers get an adapter: `all-linear` (every one but the output layer), a regular expression that matches ' +
          'the whole module path, or a list of name endings. Embedding and output layer (`embed_tokens`, `lm_head`) get one where they are named.',
      ),
    exclude_modules: textOrList()
      .exactOptional()
      .describe(
        'Modules that get none although target_modules matches them: an expression, or a list of name endings.',
      ),
    layers_to_transform: z
      .union([z.int().min(0), z.array(z.int().min(0)).min(1)])
      .exactOptional()
      .describe('Decoder layers, counted from 0, that get an adapter; all where absent.'),
    layers_pattern: textOrList()
      .exactOptional()
      .describe(
        'Name of the list of layers in the module paths, where layers_to_transform would take another number for the layer.',
      ),
    rank_pattern: z
      .record(text(), count())
      .exactOptional()
      .describe('Other ranks by module: the key is matched against the end of the path.'),
    alpha_pattern: z
      .record(text(), z.number().gt(0))
      .exactOptional()
      .describe('Other values of lora_alpha by module: the key is matched against the end of the path.'),
    use_rslora: z.boolean().default(false).describe('Rank-stabilised scaling, lora_alpha / √r.'),
    use_dora: z.boolean().default(false).describe('Train the norm of each row of the weight by itself (DoRA).'),
    init_lora_weights: z
      .union([
        z.literal(true),
        z.literal('gaussian'),
        z.literal('loftq'),
        z.literal('pissa'),
        z.templateLiteral(['pissa_niter_', z.int().min(0)]).meta({ title: 'pissa_niter_N' }),
      ])
      .default(true)
      .describe(
        'How A and B start. `true`: A Kaiming-uniform; `gaussian`: A normal with deviation 1 / r; B zero in both. `pissa`: as the principal part of the ' +
          'weight, whose rest is frozen (`pissa_niter_N`: by N steps, faster). `loftq`: as the principal part of what 4 bits lose.',
      ),
    loftq_config: z
      .strictObject({
        loftq_bits: z.literal(4).default(4).describe('Bits of the base.'),
        loftq_iter: count().default(1).describe('How often quantisation and decomposition take turns.'),
      })
      .exactOptional()
      .describe('Settings of `loftq`.'),
    loraplus_lr_ratio: z
      .number()
      .gt(0)
      .default(1)
      .describe('Factor on the learning rate of B, as LoRA+ has it (of 2 to 32); 1 is plain LoRA.'),
    loraplus_lr_embedding: z
      .number()
      .gt(0)
      .exactOptional()
      .describe(
        'Learning rate of the update of an embedding, whatever that of the run is, as LoRA+ has it (1e-6 in PEFT); that of the run where absent.',
      ),
    modules_to_save: z
      .array(text())
      .min(1)
      .exactOptional()
      .describe(
        'Modules that are trained as a whole, by the end of their names: `lm_head`, `embed_tokens`, norms, float linear layers.',
      ),
    trainable_token_indices: z
      .union([z.array(z.int().min(0)).min(1), z.record(text(), z.array(z.int().min(0)).min(1))])
      .exactOptional()
      .describe('Rows of the embedding that are trained; or rows of several modules, by their names.'),
    added_tokens: z
      .array(text())
      .min(1)
      .exactOptional()
      .describe(
        'Tokens that the tokenizer gets besides its own; their rows of embedding and output layer are trained.',
      ),
    ...initFrom,
    bias: z.enum(['none']).default('none').describe('Which biases are trained.'),
  },
  contradictions({ section }, report) {
    if (section.loftq_config !== undefined && section.init_lora_weights !== 'loftq')
      report('loftq_config', 'needs adapter.init_lora_weights loftq');
    if (section.added_tokens !== undefined && section.init_from !== undefined)
      report('added_tokens', 'contradicts adapter.init_from: the tokens are those of that adapter');
    if (section.layers_pattern !== undefined && section.layers_to_transform === undefined)
      report('layers_pattern', 'needs adapter.layers_to_transform');
    const targets = section.target_modules;
    if (section.layers_to_transform !== undefined && typeof targets === 'string' && targets !== 'all-linear') {
      report(
        'layers_to_transform',
        'contradicts an expression in adapter.target_modules: that one has to say the layers itself',
      );
    }
  },
});

export interface LoftqConfig {
  readonly loftq_bits: 4;
  readonly loftq_iter: number;
}

export type TokenIndices = readonly number[] | Readonly<Record<string, readonly number[]>>;

/** How A and B of a fresh LoRA start. `pissa_niter_N`: by N steps of a randomised decomposition, which is faster. */
export type LoraInit = boolean | 'gaussian' | 'pissa' | `pissa_niter_${number}` | 'loftq';

/** Settings of a new LoRA adapter; names and meanings as in PEFT's LoraConfig. */
export interface LoraOptions {
  readonly r: number;
  readonly lora_alpha: number;
  /** Probability with which a feature of the adapter's input is dropped in training. */
  readonly lora_dropout: number;
  /**
   * `all-linear`, a regular expression that must match the whole module path, or a list of path suffixes. The embedding
   * and the output layer get an adapter only where they are named.
   */
  readonly target_modules: string | readonly string[];
  /** Modules that get none although `target_modules` matches them; matched as those are. */
  readonly exclude_modules?: string | readonly string[] | undefined;
  /** Only these decoder layers. */
  readonly layers_to_transform?: number | readonly number[] | undefined;
  /** Name of the list of layers in a module path (`layers`), where the first number in it is not the layer's. */
  readonly layers_pattern?: string | readonly string[] | undefined;
  /** Rank, or alpha, of the modules whose path ends with what the key matches. */
  readonly rank_pattern?: Readonly<Record<string, number>> | undefined;
  readonly alpha_pattern?: Readonly<Record<string, number>> | undefined;
  /** Scale by alpha / √r instead of alpha / r. Kalajdzievski 2023, arXiv:2312.03732. */
  readonly use_rslora: boolean;
  /** Train the norm of each row of the weight by itself. Liu et al. 2024, arXiv:2402.09353. */
  readonly use_dora?: boolean | undefined;
  /**
   * `true`: A uniform in ±1/√in, B zero; `gaussian`: A normal with standard deviation 1/r, B zero; `pissa`: the
   * principal part of the weight, whose rest stays frozen; `loftq`: the principal part of what 4 bits lose.
   */
  readonly init_lora_weights: LoraInit;
  /** For `loftq`. */
  readonly loftq_config?: LoftqConfig | undefined;
  /** Factor on the learning rate of B (and of DoRA's magnitudes). Hayou et al. 2024, arXiv:2402.12354. */
  readonly loraplus_lr_ratio?: number | undefined;
  /** Learning rate of an adapted embedding's A and B; the run's where absent. */
  readonly loraplus_lr_embedding?: number | undefined;
  /** Modules that are trained as a whole, in a copy: output layer, embedding, norms, linear layers. */
  readonly modules_to_save?: readonly string[] | undefined;
  /** Rows of the embedding (and of a tied output layer) that are trained; or of several modules, by name. */
  readonly trainable_token_indices?: TokenIndices | undefined;
}
