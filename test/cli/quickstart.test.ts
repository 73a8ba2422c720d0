import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { measureQuickstart } from '../../src/cli/actions/quickstart.js';
import { formatQuickstart } from '../../src/cli/view/quickstart-report.js';

it('the quickstart measures, trains and measures again, and a few steps already help', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-quickstart-'));
  try {
    const output = join(folder, 'adapter');
    const result = await measureQuickstart({
      output,
      device: 'wasm',
      set: ['training.max_steps=16', 'training.warmup_steps=2'],
    });
    expect(existsSync(join(output, 'adapter_model.safetensors'))).toBe(true);
    expect(result.adapterBytes).toBeGreaterThan(10_000);
    // What the base model can do without any training; its names and texts were held out of pretraining.
    expect(result.before.questions).toBeGreaterThanOrEqual(0.9);
    expect(result.before.sentiment).toBeGreaterThan(0.85);
    expect(result.before.names).toBeLessThan(0.1);
    expect(result.after.rougeL).toBeGreaterThan(2 * result.before.rougeL);
    expect(result.after.samples).toHaveLength(3);
    const log = readFileSync(join(output, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(log.some((row) => 'eval_loss' in row)).toBe(true);
    const text = formatQuickstart(result);
    for (const part of [
      'both names right',
      'weekday or hour right',
      'ROUGE-L',
      'sentiment',
      'before:',
      'after:',
      'npx lowrank generate',
      output,
    ])
      expect(text).toContain(part);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
