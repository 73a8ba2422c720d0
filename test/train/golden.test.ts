import { describeBackends } from '../support/backends.js';
import { describeGolden, type GoldenCase } from '../support/golden-suite.js';

const CASES: readonly GoldenCase[] = [
  ...['llama', 'llama3_tied', 'mistral', 'qwen2', 'qwen3', 'gpt2', 'gpt_neox', 'phi', 'phi3', 'gemma'].map(
    (architecture) => ({ architecture, variant: 'lora' }),
  ),
  { architecture: 'llama', variant: 'rslora' },
  { architecture: 'llama', variant: 'prompt_tuning' },
  { architecture: 'llama_qlora', model: 'llama', variant: 'lora', quantization: { quantType: 'nf4' } },
  { architecture: 'llama_qlora', model: 'llama_qlora/hf4bit', variant: 'lora' },
];

for (const golden of CASES) describeGolden(golden, (title, body) => describeBackends(title, ['wasm', 'webgpu'], body));
