/** Settings of a new adapter; names and meanings as in PEFT's LoraConfig. */
export interface AdapterOptions {
  readonly r: number;
  readonly lora_alpha: number;
  /** Probability with which a feature of the adapter's input is dropped in training. */
  readonly lora_dropout: number;
  /** `all-linear`, a regular expression that must match the whole module path, or a list of path suffixes. */
  readonly target_modules: string | readonly string[];
  /** Scale by alpha / √r instead of alpha / r. Kalajdzievski 2023, arXiv:2312.03732. */
  readonly use_rslora: boolean;
  /** `true`: A uniform in ±1/√in, B zero; `gaussian`: A normal with standard deviation 1/r, B zero. */
  readonly init_lora_weights: boolean | 'gaussian';
}
