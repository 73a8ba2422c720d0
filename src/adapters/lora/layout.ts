import { ConfigError } from '../../errors.js';
import { compileExpression } from '../../io/expression.js';
import type { ModelConfig } from '../../model/config.js';
import { expectedTensors, linearLayers } from '../../model/tensors.js';
import { loraScale, patternValue, type LoraConfig } from './config.js';
import { endsWithModule, matchTargets } from './targets.js';

/** A low-rank update of one module: A `[rank, in]`, B `[out, rank]`. */
export interface LoraUpdate {
  readonly module: string;
  /**
   * An embedding `[vocab, hidden]` has in = vocab and out = hidden: it looks rows up instead of multiplying by its
   * weight.
   */
  readonly kind: 'linear' | 'head' | 'embedding';
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly rank: number;
  readonly scale: number;
  /** Whether the norms of the rows are trained by themselves (DoRA). */
  readonly magnitude: boolean;
}

/** A module that is trained as a whole. */
export interface TrainedCopy {
  readonly module: string;
  readonly kind: 'linear' | 'head' | 'embedding' | 'norm';
  /** Its tensors as the checkpoint stores them, `weight` and perhaps `bias`. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
}

/** Rows of an embedding or output layer that are trained; those from the vocabulary's size on are new ones. */
export interface TrainedTokenRows {
  readonly module: string;
  readonly kind: 'head' | 'embedding';
  readonly indices: readonly number[];
}

/** What an adapter's configuration means on a model. */
export interface LoraLayout {
  readonly updates: readonly LoraUpdate[];
  readonly copies: readonly TrainedCopy[];
  readonly rows: readonly TrainedTokenRows[];
}

/** @throws ConfigError when the settings match nothing of the model, or contradict each other. */
export function loraLayout(model: ModelConfig, config: LoraConfig): LoraLayout {
  const { modules } = model.family;
  const { vocabSize, hiddenSize } = model;
  const linears = new Map(linearLayers(model).map(({ name, shape }) => [name, shape]));
  const saved = config.modulesToSave ?? [];
  const targets = matchTargets([...linears.keys()], config.targetModules, {
    onlyNamed: [modules.embedding, modules.head],
    saved: saved.length === 0 ? undefined : (module) => isSaved(module, saved),
    exclude: config.excludeModules,
    layers: config.layersToTransform,
    layersPattern: config.layersPattern,
  });
  const updates = targets.map((module): LoraUpdate => {
    const rank = patternValue(config.rankPattern, module, config.r);
    const alpha = patternValue(config.alphaPattern, module, config.loraAlpha);
    const kind = module === modules.embedding ? 'embedding' : module === modules.head ? 'head' : 'linear';
    const [outFeatures, inFeatures] =
      linears.get(module) ?? (kind === 'head' ? [vocabSize, hiddenSize] : [hiddenSize, vocabSize]);
    return {
      module,
      kind,
      inFeatures,
      outFeatures,
      rank,
      scale: loraScale(rank, alpha, config.useRslora),
      magnitude: config.useDora === true,
    };
  });
  const layout = {
    updates,
    copies: saved.length === 0 ? [] : trainedCopies(model, saved),
    rows: trainedRows(model, config),
  };
  for (const { module } of layout.rows) {
    const other = updates.some((update) => update.module === module)
      ? 'target_modules'
      : layout.copies.some((copy) => copy.module === module)
        ? 'modules_to_save'
        : undefined;
    if (other !== undefined)
      throw new ConfigError(
        `trainable_token_indices: ${module}, whose rows it (or added_tokens) trains, is in ${other} too: give one of the two`,
      );
  }
  return layout;
}

/** PEFT's rule by which what is saved as a whole gets no adapter besides. */
function isSaved(module: string, saved: readonly string[]): boolean {
  return saved.some((name) => compileExpression(`(?:.*\\.)?(?:${name})(?:\\..*)?`, 'modules_to_save').matches(module));
}

/** Every module of the model whose path ends with one of the names: with the text, not at a dot, as PEFT has it. */
function trainedCopies(model: ModelConfig, saved: readonly string[]): TrainedCopy[] {
  const { modules } = model.family;
  const linears = new Set(linearLayers(model).map(({ name }) => name));
  const shapes = new Map<string, Record<string, readonly number[]>>();
  // A tied head has no tensor of its own until it is trained.
  for (const [name, shape] of [
    ...expectedTensors(model),
    [`${modules.head}.weight`, [model.vocabSize, model.hiddenSize]] as const,
  ]) {
    const [module, tensor] = [name.slice(0, name.lastIndexOf('.')), name.slice(name.lastIndexOf('.') + 1)];
    if (module !== modules.positions) shapes.set(module, { ...shapes.get(module), [tensor]: shape });
  }
  const kindOf = (module: string): TrainedCopy['kind'] =>
    linears.has(module)
      ? 'linear'
      : module === modules.embedding
        ? 'embedding'
        : module === modules.head
          ? 'head'
          : 'norm';
  const found = [...shapes.keys()].filter((module) => saved.some((name) => module.endsWith(name)));
  const unused = saved.filter((name) => !found.some((module) => module.endsWith(name)));
  if (unused.length > 0)
    throw new ConfigError(
      `modules_to_save: no module is called ${unused.map((name) => JSON.stringify(name)).join(', ')}; the model has ${[...shapes.keys()].slice(-3).join(', ')} and others`,
    );
  return found.map((module) => ({ module, kind: kindOf(module), shapes: shapes.get(module) as TrainedCopy['shapes'] }));
}

function trainedRows(model: ModelConfig, { trainableTokenIndices: given }: LoraConfig): TrainedTokenRows[] {
  if (given === undefined) return [];
  const { embedding, head } = model.family.modules;
  const named = Array.isArray(given)
    ? [[embedding, given] as const]
    : (Object.entries(given) as [string, readonly number[]][]);
  const rows = new Map<string, TrainedTokenRows>();
  for (const [name, indices] of named) {
    const module = [embedding, head].find((path) => endsWithModule(path, name));
    if (module === undefined)
      throw new ConfigError(`trainable_token_indices: found ${JSON.stringify(name)}, allowed ${embedding} and ${head}`);
    checkRows(indices, model.vocabSize);
    rows.set(module, { module, kind: module === embedding ? 'embedding' : 'head', indices });
  }
  const table = rows.get(embedding);
  if (model.tiedHead && table !== undefined) {
    // One table serves both, and its rows are trained for both.
    if (rows.has(head) && rows.get(head)?.indices.join() !== table.indices.join())
      throw new ConfigError(
        `trainable_token_indices: ${embedding} and ${head} are one table in this model: give the same rows for both`,
      );
    rows.set(head, { module: head, kind: 'head', indices: table.indices });
  }
  const grown = [embedding, head].map((module) => newRows(rows.get(module)?.indices ?? [], model.vocabSize));
  if (grown[0] !== grown[1])
    throw new ConfigError(
      `trainable_token_indices: the rows beyond the vocabulary of ${model.vocabSize} must be given for ${embedding} and for ${head}, by their names: both grow by them`,
    );
  return [...rows.values()];
}

function checkRows(indices: readonly number[], vocab: number): void {
  const beyond = indices.filter((index) => index >= vocab).sort((a, b) => a - b);
  const problem =
    indices.length === 0
      ? 'the list is empty'
      : new Set(indices).size < indices.length
        ? 'a row stands there twice'
        : beyond.some((index, i) => index !== vocab + i)
          ? `rows beyond the vocabulary of ${vocab} must follow it without a gap, found ${beyond.join(', ')}`
          : undefined;
  if (problem !== undefined) throw new ConfigError(`trainable_token_indices: ${problem}`);
}

/** How many rows lie beyond the vocabulary. */
export function newRows(indices: readonly number[], vocab: number): number {
  return indices.filter((index) => index >= vocab).length;
}
