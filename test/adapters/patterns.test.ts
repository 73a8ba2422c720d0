import { expect, it } from 'vitest';
import { checkPatterns } from '../../src/adapters/patterns.js';
import { ConfigError } from '../../src/errors.js';

const MODULES = ['model.layers.0.self_attn.q_proj', 'model.layers.0.self_attn.v_proj', 'model.layers.1.self_attn.q_proj'];

it('takes keys that match the end of a path', () => {
  expect(() => {
    checkPatterns(MODULES, { rank_pattern: { q_proj: 4, 'layers.1.self_attn.q_proj': 2 }, alpha_pattern: { '.*v_proj': 8 } });
  }).not.toThrow();
});

it('refuses keys that match nothing, all at once', () => {
  const check = (): void => {
    checkPatterns(MODULES, { rank_pattern: { q_prj: 4 }, alpha_pattern: { 'layers.9.self_attn.v_proj': 8, v_proj: 8 } });
  };
  expect(check).toThrow(ConfigError);
  expect(check).toThrow(/^rank_pattern: "q_prj" matches no layer with an adapter; these are q_proj, v_proj .*\nalpha_pattern: "layers\.9\.self_attn\.v_proj" .*paths such as model\.layers\.0\.self_attn\.v_proj\)$/);
});
