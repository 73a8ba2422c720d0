import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect } from 'vitest';
import type { AdapterMethod } from '../../src/adapters/registry.js';

/** The table of methods in README: its rows, and how it is read. */

export const BASES = ['float', 'NF4'] as const;
export const COLUMNS = ['train', 'resume', 'merge', 'peft', 'gguf', 'mlx'] as const;
export type Cells = Readonly<Record<(typeof COLUMNS)[number], string>>;

export interface MethodVariant {
  /** The first cell of its row. */
  readonly name: string;
  /** Options of the `adapter` section that ask for it. */
  readonly sets: readonly string[];
  /** The rows of data are texts: for what needs a tokenizer. */
  readonly text?: true;
}

/** The rows of each method; one without rows does not compile. */
export const METHOD_VARIANTS: Readonly<Record<AdapterMethod, readonly [MethodVariant, ...MethodVariant[]]>> = {
  lora: [
    { name: 'LoRA', sets: [] },
    { name: 'rsLoRA: `use_rslora`', sets: ['use_rslora=true'] },
    { name: 'LoRA+: `loraplus_lr_ratio`', sets: ['loraplus_lr_ratio=4'] },
    { name: 'DoRA: `use_dora`', sets: ['use_dora=true'] },
    { name: 'PiSSA: `init_lora_weights: pissa`', sets: ['init_lora_weights=pissa'] },
    { name: 'LoftQ: `init_lora_weights: loftq`', sets: ['init_lora_weights=loftq', 'loftq_config.loftq_iter=2'] },
    {
      name: 'ranks, alphas by module: `rank_pattern`, `alpha_pattern`',
      sets: ['rank_pattern={q_proj: 2}', 'alpha_pattern={v_proj: 5, up_proj: 9}'],
    },
    { name: 'some layers: `layers_to_transform`', sets: ['layers_to_transform=[1]'] },
    { name: 'LoRA of the embedding: `target_modules`', sets: ['target_modules=[q_proj, embed_tokens]'] },
    { name: 'LoRA of the output layer: `target_modules`', sets: ['target_modules=[q_proj, lm_head]'] },
    {
      name: 'modules trained whole: `modules_to_save`',
      sets: ['target_modules=[q_proj]', 'modules_to_save=[lm_head, embed_tokens, norm]'],
    },
    { name: 'trained tokens: `trainable_token_indices`', sets: ['trainable_token_indices=[1, 2, 3, 4, 5, 6]'] },
    { name: 'new tokens: `added_tokens`', sets: ['added_tokens=["<is>", "<end>"]'], text: true },
  ],
  prompt_tuning: [{ name: 'trained prompt: `method: prompt_tuning`', sets: ['method=prompt_tuning'] }],
  bottleneck: [
    { name: 'bottlenecks of Houlsby: `method: bottleneck`', sets: ['method=bottleneck', 'bottleneck_size=4'] },
    {
      name: 'bottlenecks of Pfeiffer: `placement: pfeiffer`',
      sets: ['method=bottleneck', 'bottleneck_size=4', 'placement=pfeiffer'],
    },
  ],
  layers: [
    { name: 'the last layers: `method: layers`', sets: ['method=layers', 'train_norms=true', 'train_head=true'] },
  ],
  full: [{ name: 'every weight: `method: full`', sets: ['method=full'] }],
};

export interface ReadmeTable {
  readonly text: string;
  /** By `name, base`; a row for two bases is one for each. */
  readonly rows: ReadonlyMap<string, Cells>;
}

export async function readmeTable(): Promise<ReadmeTable> {
  const text = await readFile(resolve('README.md'), 'utf8');
  const lines = text.split('\n');
  const cellsOf = (line: string): string[] =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  const head = lines.findIndex((line) => cellsOf(line).join(' ') === `method base ${COLUMNS.join(' ')}`);
  expect(head, 'README has the table').toBeGreaterThan(0);
  const rows = new Map<string, Cells>();
  for (const line of lines.slice(head + 2, lines.indexOf('', head))) {
    const [name, bases = '', ...cells] = cellsOf(line);
    for (const base of bases.split(', ')) {
      expect(rows.has(`${name}, ${base}`), line).toBe(false);
      rows.set(
        `${name}, ${base}`,
        Object.fromEntries(COLUMNS.map((column, i) => [column, cells[i]])) as unknown as Cells,
      );
    }
  }
  return { text, rows };
}
