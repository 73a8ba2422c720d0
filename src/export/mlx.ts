import { loraScale } from '../adapters/lora/config.js';
import type { PeftAdapter } from '../adapters/peft/document.js';
import { DTYPE_BITS, mismatches } from '../io/safetensors-header.js';
import { encodeSafetensors, type TensorBytes } from '../io/safetensors.js';
import { plainPairs } from './adapter-tensors.js';
import type { OutputFile } from './output.js';
import { largestRank, uniformPairs } from './portable.js';

/** Where the layers lie in Hugging Face's models and in mlx-lm's. */
const LAYERS: readonly (readonly [hub: RegExp, mlx: string])[] = [
  [/^model\.layers\.(\d+)\.(.+)$/, 'model.layers'],
  [/^transformer\.h\.(\d+)\.(.+)$/, 'model.h'],
  [/^gpt_neox\.layers\.(\d+)\.(.+)$/, 'model.h'],
];

/**
 * The adapter for mlx-lm: `adapters.safetensors` with `model.layers.N.self_attn.q_proj.lora_a` `[in, rank]` and
 * `.lora_b` `[rank, out]`, and the adapter_config.json that its `load_adapters` reads. It knows one rank and one scale,
 * so that other ranks are filled up with zeros and other scales multiplied into B.
 * @param numLayers layers of the base model; −1, the default, stands for all of them in mlx-lm
 * @throws FormatError listing everything that mlx-lm cannot take.
 */
export function mlxFiles(adapter: PeftAdapter, numLayers = -1): OutputFile[] {
  const pairs = plainPairs(adapter, 'an MLX adapter');
  const rank = largestRank(pairs);
  const { r, loraAlpha, useRslora } = adapter.config ?? { r: 1, loraAlpha: 1, useRslora: false };
  // That of the modules that no pattern names, whose B keep their bytes.
  const scale = loraScale(r, loraAlpha, useRslora);
  const problems: string[] = [];
  const tensors = new Map<string, TensorBytes>();
  const keys = new Set<string>();
  for (const { module, a, b } of uniformPairs(pairs, rank, scale)) {
    const place = placeOf(module);
    if (place === undefined) {
      problems.push(
        `${module}: in none of the layers that mlx-lm adapts (model.layers.N, transformer.h.N, gpt_neox.layers.N)`,
      );
      continue;
    }
    keys.add(place.key);
    tensors.set(`${place.path}.lora_a`, transposeBytes(a));
    tensors.set(`${place.path}.lora_b`, transposeBytes(b));
  }
  if (problems.length > 0) throw mismatches(`${adapter.name}: cannot be an MLX adapter`, problems);
  const config = {
    fine_tune_type: 'lora',
    lora_parameters: { dropout: adapter.config?.loraDropout ?? 0, keys: [...keys].sort(), rank, scale },
    model: adapter.config?.baseModel ?? null,
    num_layers: numLayers,
  };
  return [
    { path: 'adapters.safetensors', content: encodeSafetensors(tensors, { format: 'mlx' }) },
    { path: 'adapter_config.json', content: `${JSON.stringify(config, null, 4)}\n` },
  ];
}

function placeOf(module: string): { path: string; key: string } | undefined {
  for (const [hub, mlx] of LAYERS) {
    const [, layer, key] = hub.exec(module) ?? [];
    if (layer !== undefined && key !== undefined) return { path: `${mlx}.${layer}.${key}`, key };
  }
  return undefined;
}

/** `[m, n]` to `[n, m]`, whatever the dtype. */
function transposeBytes({ dtype, shape, bytes }: TensorBytes): TensorBytes {
  const [rows = 0, columns = 0] = shape;
  const size = DTYPE_BITS[dtype] / 8;
  const out = new Uint8Array(bytes.byteLength);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * columns + column) * size;
      out.set(bytes.subarray(from, from + size), (column * rows + row) * size);
    }
  }
  return { dtype, shape: [columns, rows], bytes: out };
}
