import { stringify } from 'yaml';
import { LOFTQ_QUANTIZATION, loftqInPython } from '../adapters/lora/init/loftq.js';
import type { RunConfig } from '../config/schema.js';
import { settingsInForce, withoutFolders } from '../settings.js';
import { markdownCell, markdownFence, markdownText } from '../text.js';
import type { TrainingRecord } from './record.js';

/** The name under which the Hub shows it. */
export const CARD_FILE = 'README.md';

/** How what was trained is called and loaded. */
export interface CardMethod {
  readonly name: string;
  /** `peft`: with PEFT's `PeftModel.from_pretrained`; `own`: only here; `model`: it is a whole model. */
  readonly loads: 'peft' | 'own' | 'model';
}

/**
 * README.md of an adapter directory: a model card with the front matter that the Hugging Face Hub reads, then data,
 * settings, results, versions, and the lines that load it in Python and in TypeScript.
 * @param datasets ids on the Hub of what it was trained on.
 * Source: https://huggingface.co/docs/hub/model-cards
 */
export function modelCard(
  record: TrainingRecord,
  config: RunConfig,
  method: CardMethod,
  datasets: readonly string[] = [],
): string {
  const { base } = record;
  const hub = /^[\w.-]+\/[\w.-]+$/.test(base.name);
  // The path on the machine that trained says nothing to a reader.
  const name = hub ? base.name : (base.name.split(/[\\/]/).at(-1) ?? base.name);
  // What cannot be an id there is no link.
  const ids = datasets.filter((id) => /^\w[\w.-]*(?:\/\w[\w.-]*)?$/.test(id));
  const front = {
    ...(hub ? { base_model: base.name } : {}),
    library_name: { peft: 'peft', own: 'lowrank', model: 'transformers' }[method.loads],
    ...(ids.length === 0 ? {} : { datasets: ids }),
    pipeline_tag: 'text-generation',
    tags: [
      method.name,
      'lowrank',
      ...(hub ? [`base_model:${method.loads === 'model' ? 'finetune' : 'adapter'}:${base.name}`] : []),
    ],
  };
  const sections = [
    `# ${markdownText(method.loads === 'model' ? `${name}, fine-tuned` : `${method.name} adapter for ${name}`)}`,
    `Trained with lowrank ${markdownText(record.versions['lowrank'] ?? '')} on ${markdownText(record.device)}; ${record.parameters.trainable.toLocaleString('en')} of ${record.parameters.total.toLocaleString('en')} parameters.`,
    '## Data',
    table(
      ['part', 'files', 'rows', 'tokens', 'supervised tokens'],
      record.data.map((d) => [
        d.part,
        Object.keys(d.files).map(withoutFolders).join(', '),
        d.rows,
        d.tokens ?? '',
        d.supervised_tokens ?? '',
      ]),
    ),
    '## Settings',
    markdownFence(stringify(settingsInForce(config)).trimEnd(), 'yaml'),
    '## Results',
    table(
      ['', ''],
      Object.entries(record.results).map(([name, value]) => [name.replaceAll('_', ' '), Number(value.toPrecision(5))]),
    ),
    '## Use',
    ...usage(hub ? name : `path/to/${name}`, base.quantization, method, config.adapter),
    '## Versions',
    markdownText(
      Object.entries(record.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ),
  ];
  return `---\n${stringify(front)}---\n${sections.join('\n\n')}\n`;
}

function usage(
  base: string,
  quantization: TrainingRecord['base']['quantization'],
  method: CardMethod,
  adapter: RunConfig['adapter'],
): string[] {
  const loftq =
    adapter.method === 'lora' && adapter.init_from === undefined && adapter.init_lora_weights === 'loftq'
      ? (adapter.loftq_config?.loftq_iter ?? 1)
      : undefined;
  const asHeld = { type: quantization?.bnb_4bit_quant_type, double: quantization?.bnb_4bit_use_double_quant ?? false };
  const { type, double } =
    loftq === undefined ? asHeld : { type: LOFTQ_QUANTIZATION.quantType, double: LOFTQ_QUANTIZATION.doubleQuant };
  const quantize =
    type === undefined
      ? ''
      : `, quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="${type}", bnb_4bit_use_double_quant=${double ? 'True' : 'False'})`;
  const importLine = `from transformers import AutoModelForCausalLM${type === undefined ? '' : ', BitsAndBytesConfig'}`;
  const here = 'path/to/this/folder';
  const transformers = (model: string): string =>
    `AutoModelForCausalLM.from_pretrained(${JSON.stringify(model)}${quantize})`;
  const python = {
    peft: [
      'from peft import PeftModel',
      importLine,
      `model = PeftModel.from_pretrained(${transformers(base)}, "${here}")`,
    ],
    model: [importLine, `model = ${transformers(here)}`],
    own: undefined,
  }[method.loads];
  // LoftQ makes its base here of the floats.
  const quantized =
    type === undefined || loftq !== undefined ? '' : `, quantization: { quantType: '${type}', doubleQuant: ${double} }`;
  const loaded =
    method.loads === 'model'
      ? `model: await openDirectory('${here}')`
      : `model: await openDirectory(${/['\\\n]/.test(base) ? JSON.stringify(base) : `'${base}'`}), adapter: await openDirectory('${here}')`;
  const typescript = [
    "import { openSession } from 'lowrank';",
    "import { nodeHost, openDirectory } from 'lowrank/node';",
    `const session = await openSession({ ${loaded}${quantized}, device: 'auto', host: nodeHost });`,
  ];
  // No base that Python could load for more than one iteration.
  const loads = loftq === undefined || loftq === 1;
  return [
    ...(loftq === undefined
      ? []
      : [
          `LoftQ: this adapter belongs on the base in NF4, and over the base in floats its answers are off by what NF4 loses. ${loftqInPython(loftq)}.`,
        ]),
    ...(python === undefined
      ? ['PEFT has no such method; lowrank loads it:']
      : loads
        ? [markdownFence(python.join('\n'), 'python')]
        : []),
    markdownFence(typescript.join('\n'), 'ts'),
  ];
}

function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string =>
    `| ${cells.map((cell) => markdownCell(String(cell))).join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
