import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { dimsList, hardwareFlops, reducedDims, SHAPES, stepFlops, type ShapeName } from '../../src/bench/shapes.js';

const names = Object.keys(SHAPES) as ShapeName[];
const python = spawnSync('python3', ['--version']).status === 0;

describe('stepFlops', () => {
  it.skipIf(!python)('counts what the PyTorch step counts, for the same shapes', () => {
    for (const name of names) {
      const { stdout, status } = spawnSync('python3', ['scripts/bench/torch_step.py', '--flops', '--shape', name], {
        encoding: 'utf8',
      });
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toEqual({
        shape: name,
        dims: dimsList(SHAPES[name]),
        flop_per_step: stepFlops(SHAPES[name]),
      });
    }
  });

  it('is 4 a weight and token, plus attention', () => {
    const dims = { hidden: 8, layers: 1, heads: 2, kvHeads: 1, ffn: 16, vocab: 10, batch: 1, seq: 4 };
    const weights = 8 * 8 + 8 * 4 + 8 * 4 + 8 * 8 + 3 * 8 * 16;
    expect(stepFlops(dims)).toBe(4 * 4 * (weights + 80) + 6 * 1 * 2 * 16 * 4);
  });
});

describe('hardwareFlops', () => {
  const dims = { hidden: 8, layers: 2, heads: 2, kvHeads: 1, ffn: 16, vocab: 10, batch: 1, seq: 4 };
  const tokens = 4;
  const layer = 8 * 8 + 8 * 4 + 8 * 4 + 8 * 8 + 3 * 8 * 16;
  // A and B of q, k, v, o, gate, up, down.
  const lowRank = 3 * (16 + 12 + 12 + 16 + 24 + 24 + 24);
  const scores = 2 * 16 * 4;

  it('adds low-rank products and the scores that attention makes again, without what lies below the first layer', () => {
    const below = 2 * tokens * (8 * 8 + 2 * 8 * 4 + 3 * 3 * 8);
    expect(hardwareFlops(dims, 3, false)).toBe(stepFlops(dims) + 2 * (6 * tokens * lowRank + scores) - below);
  });

  it('adds the forward pass of the layers with gradient checkpointing, without the product and the update that end it', () => {
    const forward = 2 * tokens * (layer - 16 * 8 + lowRank - 3 * 8) + 2 * scores;
    expect(hardwareFlops(dims, 3, true)).toBe(stepFlops(dims) + 2 * (6 * tokens * lowRank + scores) + 2 * forward);
  });

  it('is not far from what is needed at real sizes', () => {
    for (const name of names) {
      expect(hardwareFlops(SHAPES[name], 8, false) / stepFlops(SHAPES[name])).toBeLessThan(1.1);
      expect(hardwareFlops(SHAPES[name], 8, true)).toBeGreaterThan(hardwareFlops(SHAPES[name], 8, false));
    }
  });
});

describe('reducedDims', () => {
  it('keeps the widths that choose kernels', () => {
    for (const name of names) {
      const { hidden, heads, kvHeads } = SHAPES[name];
      expect(reducedDims(SHAPES[name])).toMatchObject({ hidden, heads, kvHeads, layers: 1 });
    }
  });
});
