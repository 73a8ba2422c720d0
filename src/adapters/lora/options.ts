import type { LoftqConfig, TokenIndices } from './config.js';

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
