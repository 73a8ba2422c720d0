import { stringify } from 'yaml';
import type { RunConfig } from '../config/schema.js';
import type { TrainingRecord } from './record.js';

/** What the hub calls the way a method is stored: PEFT's where PEFT loads it. */
export interface CardMethod {
  readonly name: string;
  /** Loadable with `PeftModel.from_pretrained`. */
  readonly peft: boolean;
}

/**
 * README.md of an adapter directory: a model card with the front matter that the Hugging Face Hub reads, then data, settings,
 * results, versions, and the lines that load it in Python and in TypeScript.
 * Source: https://huggingface.co/docs/hub/model-cards
 */
export function modelCard(record: TrainingRecord, config: RunConfig, method: CardMethod): string {
  const { base } = record;
  const hub = /^[\w.-]+\/[\w.-]+$/.test(base.name);
  const front = {
    ...(hub ? { base_model: base.name } : {}),
    library_name: 'peft',
    pipeline_tag: 'text-generation',
    tags: [method.name, 'lowrank', ...(hub ? [`base_model:adapter:${base.name}`] : [])],
  };
  const sections = [
    `# ${method.name} adapter for ${base.name}`,
    `Trained with lowrank ${record.versions['lowrank'] ?? ''} on ${record.device}; ${record.parameters.trainable.toLocaleString('en')} of ${record.parameters.total.toLocaleString('en')} parameters.`,
    '## Data',
    table(['part', 'files', 'rows', 'tokens', 'supervised tokens'], record.data.map((d) => [d.part, Object.keys(d.files).join(', '), d.rows, d.tokens, d.supervised_tokens])),
    '## Settings',
    '```yaml',
    stringify({ quantization: config.quantization, adapter: config.adapter, data: withoutPaths(config.data), training: withoutPaths(config.training) }).trimEnd(),
    '```',
    '## Results',
    table(['', ''], Object.entries(record.results).map(([name, value]) => [name.replaceAll('_', ' '), Number(value.toPrecision(5))])),
    '## Use',
    ...usage(base.name, base.quantization, method),
    '## Versions',
    Object.entries(record.versions).map(([name, version]) => `${name} ${version}`).join(', '),
  ];
  return `---\n${stringify(front)}---\n${sections.join('\n\n').replaceAll('```yaml\n\n', '```yaml\n').replaceAll('\n\n```\n', '\n```\n')}\n`;
}

function usage(base: string, quantization: TrainingRecord['base']['quantization'], method: CardMethod): string[] {
  const { bnb_4bit_quant_type: type, bnb_4bit_use_double_quant: double = false } = quantization ?? {};
  const quantize = type === undefined ? '' : `, quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="${type}", bnb_4bit_use_double_quant=${double ? 'True' : 'False'})`;
  const python = [
    '```python',
    'from peft import PeftModel',
    `from transformers import AutoModelForCausalLM${type === undefined ? '' : ', BitsAndBytesConfig'}`,
    `base = AutoModelForCausalLM.from_pretrained("${base}"${quantize})`,
    'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
    '```',
  ].join('\n');
  const quantized = type === undefined ? '' : `, quantization: { quantType: '${type}', doubleQuant: ${double} }`;
  const typescript = [
    '```ts',
    "import { openSession } from 'lowrank';",
    "import { nodeHost, openDirectory } from 'lowrank/node';",
    `const session = await openSession({ model: await openDirectory('${base}'), adapter: await openDirectory('path/to/this/folder')${quantized}, device: 'auto', host: nodeHost });`,
    '```',
  ].join('\n');
  return method.peft ? [python, typescript] : ['PEFT has no such method; it is loaded by lowrank:', typescript];
}

/** Paths of the machine that trained say nothing to a reader. */
function withoutPaths(section: object): object {
  const paths = new Set(['train', 'validation', 'test', 'output_dir']);
  return Object.fromEntries(Object.entries(section).filter(([key]) => !paths.has(key)));
}

function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
