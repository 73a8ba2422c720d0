import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allOptions } from '../../src/config/options.js';
import { renderConfigHelp, renderConfigReference } from '../../src/config/reference.js';

describe('the reference page', () => {
  const page = renderConfigReference();

  it('has a row with a meaning for every option', () => {
    expect(allOptions.length).toBeGreaterThan(40);
    for (const option of allOptions) {
      const row = page.split('\n').find((line) => line.startsWith(`| \`${option.path}\` |`));
      expect(row, option.path).toBeDefined();
      expect(option.description, option.path).toMatch(/^[A-Z].*\.$/);
      expect(option.type, option.path).not.toBe('');
    }
  });

  it('shows ranges, choices and defaults', () => {
    expect(page).toContain('| `training.learning_rate` | a number > 0 | `0.0002` |');
    expect(page).toContain('| `quantization.bnb_4bit_quant_type` | nf4 or fp4 | `nf4` |');
    expect(page).toContain('| `data.train` | a string, an entry or a list of these | *required* |');
    expect(page).toContain('| `data.train[].weight` | a number > 0 |  | Share of the rows');
    expect(page).toContain('| `adapter.target_modules` | a string or a list of strings | `all-linear` |');
    expect(page).toContain('| `training.eval_steps` | an integer ≥ 1 |  |');
  });

  // After a change of the schema: npx vitest run test/config/reference.test.ts -u
  it('stands in configs/README.md', async () => {
    await expect(page).toMatchFileSnapshot(resolve('configs/README.md'));
  });

  it('has a plain-text form for --help', () => {
    const help = renderConfigHelp();
    for (const option of allOptions) expect(help).toContain(option.path);
  });
});
