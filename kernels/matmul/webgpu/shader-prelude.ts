import type { VariantTraits } from '../../runtime/variant.js';

/** The first lines of a shader: features, the type of staged values, sizes. */
export function shaderPrelude(traits: VariantTraits, sizes: Readonly<Record<string, number>>): string {
  const enable = traits.enable === undefined ? [] : [`enable ${traits.enable};`];
  const staged = `alias Staged = ${traits.halfTiles ? 'vec4h' : 'vec4f'};`;
  return [...enable, staged, ...Object.entries(sizes).map(([name, value]) => `const ${name} = ${value}u;`)].join('\n');
}
