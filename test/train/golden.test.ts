import { describeBackends } from '../support/backends.js';
import { describeGolden, type GoldenCase } from '../support/golden-suite.js';

const CASES: readonly GoldenCase[] = [
  ...['llama', 'llama3_tied', 'mistral', 'qwen2', 'qwen3'].map((architecture) => ({ architecture, variant: 'lora' })),
  { architecture: 'llama', variant: 'rslora' },
  { architecture: 'llama_qlora', model: 'llama', variant: 'lora', quantization: { quantType: 'nf4' } },
  { architecture: 'llama_qlora', model: 'llama_qlora/hf4bit', variant: 'lora' },
];

for (const golden of CASES) describeGolden(golden, (title, body) => describeBackends(title, ['wasm', 'webgpu'], body));
