import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { readAdapter } from '../../src/adapters/peft/files.js';
import { definitionOf, methodOf } from '../../src/adapters/registry.js';
import { parseResult } from '../../src/ablation/result.js';
import {
  parseCheckpoint,
  parseJob,
  parseJobResult,
  parseLogLine,
  parseProgress,
} from '../../src/workspace/queue/messages.js';
import { readRequests } from '../../src/workspace/generate-requests.js';
import { loadConfig, serializeConfig } from '../../src/config/load.js';
import { readConversation } from '../../src/data/conversations.js';
import type { ConversationFormat } from '../../src/data/options.js';
import { openRows } from '../../src/data/rows.js';
import { parseTasks } from '../../src/eval/tasks/schema.js';
import { encodeGguf } from '../../src/export/gguf/write.js';
import { GgufFile } from '../../src/export/gguf/read.js';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { memoryDirectory, type Directory } from '../../src/io/directory.js';
import { editJson } from '../../src/io/json-edit.js';
import { duplicateKeys, parseJson } from '../../src/io/json.js';
import { encodeSafetensors, float32Tensor, SafetensorsFile, type TensorBytes } from '../../src/io/safetensors.js';
import { memorySource } from '../../src/io/source.js';
import { readTfRecords, tfRecord } from '../../src/io/tfrecord.js';
import { parseModelConfig } from '../../src/model/config.js';
import { readModelConfig } from '../../src/model/load.js';
import { expectedTensors, resolveNames } from '../../src/model/tensors.js';
import { quantizedParts, readQuantized, writeQuantized } from '../../src/quant/bitsandbytes.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { readRecord } from '../../src/record/record.js';
import { makeReport } from '../../src/report/report.js';
import { readInputs } from '../../src/resume/inputs.js';
import { manifestProblem, withManifest } from '../../src/resume/manifest.js';
import { renderTemplate } from '../../src/tokenizer/template.js';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.js';
import { readProgress } from '../../src/train/run-state.js';
import { CHATML, smallTokenizerFiles } from '../tokenizer/fixture.js';
import { hubFiles, readFromHub } from './hub-files.js';
import type { Files } from './mutate.js';
import { idOf, queueFiles, unchangedJob } from './queue-files.js';

/** A reader of files that others made, and files that it reads well. */
export interface Target {
  readonly name: string;
  seeds(): Promise<Files[]> | Files[];
  /** @param folder where files of this case may be written. */
  read(files: Files, folder: () => Promise<string>): Promise<void> | void;
}

const ROWS = [
  { prompt: 'a "b"', completion: 'c', n: 1 },
  { prompt: 'd\ne', completion: 'f', n: 2 },
];
const bytesOf = (content: Uint8Array | string | undefined): Uint8Array =>
  typeof content === 'string' ? new TextEncoder().encode(content) : (content ?? new Uint8Array());
const textOf = (content: Uint8Array | string | undefined): string =>
  typeof content === 'string' ? content : new TextDecoder().decode(content);
const directoryOf = (files: Files): Directory => memoryDirectory('d', files);

/** Two rows by the `zstd` command, without and with a checksum. */
const ZSTD = [
  'KLUv/SBDVQEABAJ7InRleHQiOiJ0aGUgb3R0ZXIifQpmZXJyZXQsICJ9CgIALwqPx2QC',
  'KLUv/SRDVQEABAJ7InRleHQiOiJ0aGUgb3R0ZXIifQpmZXJyZXQsICJ9CgIALwqPx2QCC+AGtw==',
].map((text) => new Uint8Array(Buffer.from(text, 'base64')));

const CONVERSATIONS: readonly (readonly [ConversationFormat, Record<string, unknown>])[] = [
  [
    'messages',
    {
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'a' }] },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ type: 'function', function: { name: 'f', arguments: { a: 1 } } }],
        },
      ],
      tools: [],
    },
  ],
  [
    'sharegpt',
    {
      system: 's',
      conversations: [
        { from: 'human', value: 'a' },
        { from: 'function_call', value: '{"name": "f", "arguments": {}}' },
        { from: 'observation', value: '1' },
        { from: 'gpt', value: 'b' },
      ],
    },
  ],
  [
    'completion_messages',
    { prompt: [{ role: 'user', content: 'a', train: true }], completion: '[{"role": "assistant", "content": "b"}]' },
  ],
  ['alpaca_chat', { history: [['a', 'b']], instruction: 'c', input: 'd', output: 'e' }],
];

async function readRows(files: Files): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const file = await openRows(memorySource(name, bytesOf(content)));
    let rows = 0;
    for await (const row of file.rows) {
      if (rows++ < 2 && row.at !== undefined) await file.reread?.(row.at);
    }
  }
}

const ADAPTER = {
  peft_type: 'LORA',
  r: 2,
  lora_alpha: 4,
  lora_dropout: 0,
  target_modules: ['q_proj', 'v_proj'],
  rank_pattern: { 'layers.0.*q_proj': 4 },
  alpha_pattern: {},
  bias: 'none',
  task_type: 'CAUSAL_LM',
  base_model_name_or_path: 'base',
  modules_to_save: null,
  layers_to_transform: [0],
  layers_pattern: 'layers',
  exclude_modules: 'lm_head',
};
/** A Llama; made here, as the helpers of other tests need the test runner. */
const TINY_CONFIG = {
  model_type: 'llama',
  vocab_size: 32,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: [2],
};

function tinyTensors(): Map<string, TensorBytes> {
  return new Map(
    [...expectedTensors(parseModelConfig(TINY_CONFIG))].map(([name, shape]) => [
      name,
      float32Tensor(shape, new Float32Array(shape.reduce((a, b) => a * b, 1))),
    ]),
  );
}

function tinyModelFiles(): Files {
  return { 'config.json': JSON.stringify(TINY_CONFIG), 'model.safetensors': encodeSafetensors(tinyTensors()) };
}

/** In two files, with positions as Llama 3 has them. */
function shardedModel(): Files {
  const tensors = [...tinyTensors()];
  const shards = { 'a.safetensors': tensors.slice(0, 3), 'b.safetensors': tensors.slice(3) };
  return {
    'config.json': JSON.stringify({
      ...TINY_CONFIG,
      rope_scaling: {
        rope_type: 'llama3',
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 32,
      },
    }),
    'model.safetensors.index.json': JSON.stringify({
      metadata: { total_size: 1 },
      weight_map: Object.fromEntries(
        Object.entries(shards).flatMap(([file, own]) => own.map(([name]) => [name, file])),
      ),
    }),
    ...Object.fromEntries(Object.entries(shards).map(([file, own]) => [file, encodeSafetensors(new Map(own))])),
  };
}

const CONFIG =
  'model: ./model\ndata: {train: train.jsonl, chat_template: chatml}\nadapter: {r: 4, target_modules: [q_proj], rank_pattern: {q_proj: 2}}\ntraining:\n  output_dir: out\n  max_steps: 3\n';
const TASKS = JSON.stringify({
  tasks: [
    {
      type: 'generate',
      name: 'a',
      data: 'a.jsonl',
      prompt: '{{ q }}',
      references: 'r',
      metrics: ['exact_match', { name: 'f1', label: 'x' }],
    },
    {
      type: 'multiple_choice',
      name: 'b',
      data: 'b.jsonl',
      prompt: '{{ q }}',
      choices: 'c',
      answer: 'a',
      metrics: ['accuracy'],
    },
    { type: 'loss', name: 'c', data: ['c.jsonl'], metrics: ['perplexity'] },
  ],
});
const RECORD = {
  format: 1,
  versions: { lowrank: '0' },
  device: 'cpu',
  base: { name: 'm', revision: null, model_type: 'llama', files: { a: 'a'.repeat(64) }, quantization: null },
  tokenizer: {},
  data: [{ part: 'train', rows: 2, tokens: 3, supervised_tokens: 1, files: {} }],
  parameters: { trainable: 1, total: 2 },
  results: { loss: 1 },
  replays: [{ prompt: [1], tokens: [2], margins: [0.5] }],
};
const METRICS = `${JSON.stringify({ step: 1, loss: 2, learning_rate: 1e-4, grad_norm: 1 })}\n${JSON.stringify({ step: 2, loss: 1.5, learning_rate: 1e-4, grad_norm: null })}\n${JSON.stringify({ step: 2, eval_loss: 1.4 })}\n`;
const EVAL = {
  model: 'm',
  adapters: ['a'],
  metrics: [
    {
      task: 't',
      metric: 'f1',
      items: 3,
      values: [
        { model: 'base', value: 0.1, low: 0, high: 0.2 },
        { model: 'a', value: 0.4, gain: 0.3 },
      ],
    },
  ],
  samples: [{ name: 'a', tasks: [{ task: 't', samples: [{ prompt: 'p', answer: 'x', reference: 'y' }] }] }],
};
const RUN = {
  id: 'r1',
  settings: { rank: 2 },
  seed: 1,
  validation_loss: 1.5,
  train_loss: 1,
  metrics: { f1: 0.5 },
  losses: [{ step: 1, loss: 2, learning_rate: 0.1, grad_norm: null }],
  validation: [{ step: 1, eval_loss: 1.5 }],
  trainable_parameters: 10,
};
const ABLATION = {
  runs: [RUN, { ...RUN, id: 'r2', settings: { rank: 4 } }],
  failed: [{ id: 'x', error: 'e' }],
  baselines: { float: { f1: 0.1 } },
};
const STATE = {
  ...{
    format: 1,
    step: 3,
    total_steps: 5,
    seed: 1,
    data: { epoch: 0, position: 1, count: 4, seed: 1, shuffle: true },
    tokens: 9,
    loss_total: 2.5,
    seconds: 1.5,
  },
  ...{
    since_log: { loss: 1, steps: 1, tokens: 3, seconds: 0.5 },
    optimizer_steps: 3,
    best: { step: 2, epoch: 0.5, eval_loss: 1, perplexity: null },
    evaluations_without_gain: 0,
  },
};
const CHECKPOINT = {
  'training_state.json': JSON.stringify(STATE),
  'run_inputs.json': JSON.stringify({ format: 1, backend: 'cpu', files: {}, config: {} }),
};

function adapterTensors(ranks: Readonly<Record<string, number>>): Uint8Array {
  const zeros = (rows: number, columns: number): TensorBytes =>
    float32Tensor([rows, columns], new Float32Array(rows * columns));
  const pairs = Object.entries(ranks).flatMap(([name, rank]): [string, TensorBytes][] => {
    const module = `base_model.model.model.layers.0.self_attn.${name}`;
    return [
      [`${module}.lora_A.weight`, zeros(rank, 32)],
      [`${module}.lora_B.weight`, zeros(name === 'v_proj' ? 16 : 32, rank)],
    ];
  });
  return encodeSafetensors(new Map(pairs));
}

/** A base whose linear layers are in 4 bits, as bitsandbytes stores them. */
function quantizedModel(): Files {
  const name = 'model.layers.0.self_attn.q_proj.weight';
  const quantized = writeQuantized(
    name,
    quantize4bit(new Float32Array(32 * 32).fill(0.5), [32, 32], {
      quantType: 'nf4',
      doubleQuant: true,
      blockSize: 64,
      dtype: 'F32',
    }),
  );
  const tensors = tinyTensors();
  for (const [key, tensor] of Object.entries(quantized)) tensors.set(key, tensor);
  return {
    'config.json': JSON.stringify({
      ...TINY_CONFIG,
      quantization_config: { quant_method: 'bitsandbytes', load_in_4bit: true },
    }),
    'model.safetensors': encodeSafetensors(tensors),
  };
}

export const TARGETS: readonly Target[] = [
  {
    name: 'json',
    seeds: () => [
      { 'a.json': JSON.stringify({ ...RECORD, text: 'a\\n"ü' }) },
      { 'a.json': '{"a": [1, 2.5e-3, "\\u0041\\n", null], "b": {"a": "x\\\\"}}' },
    ],
    read(files) {
      const text = textOf(files['a.json']);
      parseJson(text, 'a.json');
      duplicateKeys(text);
      editJson(text, { a: 1, b: undefined }, 'a.json');
    },
  },
  {
    name: 'rows',
    seeds: () => {
      const jsonl = ROWS.map((row) => JSON.stringify(row)).join('\n');
      const csv = 'prompt,completion\n"a ""b""",c\nd,"e\nf"\n';
      return [
        { 'a.jsonl': jsonl },
        { 'a.json': JSON.stringify(ROWS) },
        { 'a.json': JSON.stringify({ data: ROWS }, null, 2) },
        { 'a.csv': csv },
        { 'a.tsv': csv.replaceAll(',', '\t') },
        { 'a.txt': 'a\nb\n' },
        { 'a.jsonl.gz': new Uint8Array(gzipSync(jsonl)) },
        { 'a.jsonl.gz': new Uint8Array(Buffer.concat([gzipSync(jsonl), gzipSync(jsonl), Buffer.alloc(4)])) },
        ...ZSTD.map((bytes) => ({ 'a.jsonl.zst': bytes })),
        { 'a.json': ROWS.map((row) => JSON.stringify(row, null, 2)).join('\n') },
      ];
    },
    read: readRows,
  },
  {
    name: 'parquet',
    seeds: () => [
      {
        'a.parquet': new Uint8Array(
          parquetWriteBuffer({
            columnData: [
              { name: 'text', data: ['a', 'b', 'a', 'a'], type: 'STRING' },
              { name: 'n', data: [1, null, 3, 4], type: 'INT32' },
            ],
          }),
        ),
      },
    ],
    read: readRows,
  },
  {
    name: 'config',
    seeds: () => [
      { 'run.yaml': CONFIG },
      {
        'run.yaml': CONFIG.replace('[q_proj]', '&names [q_proj]')
          .replace('rank_pattern', 'exclude_modules: *names, rank_pattern')
          .replace('exclude_modules: *names, ', ''),
      },
    ],
    read: (files) => void serializeConfig(loadConfig(textOf(files['run.yaml']), 'run.yaml', ['training.seed=3'])),
  },
  {
    name: 'override',
    seeds: () => [{ set: 'adapter.target_modules=[q_proj, v_proj]' }, { set: 'training.learning_rate=2e-4' }],
    read: (files) => void loadConfig(CONFIG, 'run.yaml', [textOf(files['set'])]),
  },
  {
    name: 'tokenizer',
    seeds: () => [
      smallTokenizerFiles(),
      {
        ...smallTokenizerFiles({
          added_tokens_decoder: { 3: { content: '<s>', special: true } },
          chat_template: [{ name: 'default', template: CHATML }],
        }),
        'generation_config.json': JSON.stringify({ eos_token_id: [1, 2], bos_token_id: 3 }),
        'special_tokens_map.json': JSON.stringify({ pad_token: { content: '<s>' } }),
      },
    ],
    async read(files) {
      const tokenizer = await loadTokenizer(directoryOf(files));
      if (tokenizer === undefined) return;
      tokenizer.decode(tokenizer.encode('the ant  tells\n12 über'), { skipSpecialTokens: true });
      void tokenizer.endOfTurnId;
      if (tokenizer.chatTemplate !== undefined)
        tokenizer.encode(tokenizer.applyChatTemplate([{ role: 'user', content: 'a' }], { addGenerationPrompt: true }), {
          addSpecialTokens: false,
        });
    },
  },
  {
    name: 'template',
    seeds: () => [
      { t: CHATML },
      {
        t: "{% macro f(x) %}{{ x | trim }}{% endmacro %}{% for m in messages if m.role != 'system' %}{{ f(m.content) }}{{ m | tojson(indent=2) }}{% set n = loop.index0 * 2 %}{% endfor %}{{ messages[-1].content.split(' ')[:2] | join('-') }}",
      },
    ],
    read: (files) =>
      void renderTemplate(
        textOf(files['t']),
        {
          messages: [
            { role: 'user', content: 'a b' },
            { role: 'assistant', content: 'c' },
          ],
          add_generation_prompt: true,
        },
        't',
      ),
  },
  {
    name: 'model',
    seeds: () => [tinyModelFiles(), quantizedModel(), shardedModel()],
    async read(files) {
      const directory = directoryOf(files);
      const checkpoint = await openCheckpoint(directory);
      const parts = quantizedParts(checkpoint);
      for (const weight of checkpoint.names()) {
        if (!parts.has(weight)) await readQuantized(checkpoint, weight);
        await checkpoint.read(weight);
      }
      resolveNames(await readModelConfig(directory), checkpoint);
    },
  },
  {
    name: 'adapter',
    seeds: () => [
      {
        'adapter_config.json': JSON.stringify(ADAPTER),
        'adapter_model.safetensors': adapterTensors({ q_proj: 4, v_proj: 2 }),
      },
      {
        'adapter_config.json': JSON.stringify({
          ...ADAPTER,
          target_modules: '.*\\.(q|v)_proj',
          rank_pattern: {},
          layers_to_transform: null,
          layers_pattern: null,
        }),
        'adapter_model.safetensors': adapterTensors({ q_proj: 2, v_proj: 2 }),
      },
    ],
    async read(files) {
      const { config, tensors } = await readAdapter(directoryOf(files));
      definitionOf(methodOf(config)).mismatches(parseModelConfig(TINY_CONFIG), config, tensors);
    },
  },
  {
    name: 'safetensors',
    seeds: () => [
      {
        'a.safetensors': encodeSafetensors(
          { a: float32Tensor([2, 3], new Float32Array(6)), b: float32Tensor([1], new Float32Array(1)) },
          { format: 'pt' },
        ),
      },
    ],
    async read(files) {
      const file = await SafetensorsFile.open(memorySource('a.safetensors', bytesOf(files['a.safetensors'])));
      for (const name of file.tensors.keys()) await file.readFloat32(name);
    },
  },
  {
    name: 'gguf',
    seeds: () => [
      {
        'a.gguf': encodeGguf(
          new Map<string, never>([
            ['general.architecture', { type: 'string', value: 'llama' } as never],
            ['x', { type: 'array', of: 'uint32', value: [{ type: 'uint32', value: 1 }] } as never],
          ]),
          [{ name: 't', ...float32Tensor([2, 2], new Float32Array(4)) } as never],
        ),
      },
    ],
    async read(files) {
      const file = await GgufFile.open(memorySource('a.gguf', bytesOf(files['a.gguf'])));
      for (const name of file.tensors.keys()) await file.read(name);
    },
  },
  {
    name: 'tfrecord',
    seeds: () => [{ a: tfRecord(Uint8Array.of(1, 2, 3)) }],
    read: (files) => void readTfRecords(bytesOf(files['a'])),
  },
  {
    name: 'checkpoint',
    seeds: async () => [await withManifest(CHECKPOINT)],
    async read(files) {
      const directory = directoryOf(files);
      await manifestProblem(directory);
      await readProgress(directory);
      await readInputs(directory);
    },
  },
  {
    name: 'tasks',
    seeds: () => [
      { 't.yaml': TASKS },
      { 't.yaml': 'tasks:\n  - {type: loss, name: a, data: a.txt, metrics: [loss]}\n' },
    ],
    read: (files) => void parseTasks(textOf(files['t.yaml']), 't.yaml'),
  },
  {
    name: 'record',
    seeds: () => [{ 'training_record.json': JSON.stringify(RECORD) }],
    read: async (files) => void (await readRecord(directoryOf(files))),
  },
  {
    name: 'report',
    seeds: () => [
      {
        'metrics.jsonl': METRICS,
        'training_record.json': JSON.stringify(RECORD),
        'config.yaml': CONFIG,
        'README.md': '# card',
      },
      { 'eval.json': JSON.stringify(EVAL) },
      {
        'ablation.json': JSON.stringify(ABLATION),
        'subspace.json': JSON.stringify({
          pairs: [
            {
              first: 'r1',
              second: 'r2',
              ranks: [2, 4],
              seeds: [1, 1],
              mean: [
                [0.1, 0.2],
                [0.3, 0.4],
              ],
            },
          ],
          spectra: { r1: { q: [1, 0.5] } },
        }),
        'runs/r1/training_record.json': JSON.stringify(RECORD),
      },
    ],
    read: async (files) => void (await makeReport(directoryOf(files))),
  },
  {
    name: 'queue',
    seeds: () => [queueFiles()],
    read(files) {
      parseProgress(textOf(files['line']));
      const line = textOf(files['line']);
      if (line !== '') parseLogLine(line, 'r1');
      parseResult(textOf(files['result.json']), 'result.json');
      const job = textOf(files['job']);
      parseJob(job, idOf(job));
      parseJobResult(textOf(files['result']), 'r1', unchangedJob);
    },
  },
  {
    name: 'checkpoint of the queue',
    seeds: () => [
      { c: JSON.stringify({ step: 2, files: { 'optimizer.safetensors': { sha256: 'a'.repeat(64), bytes: 3 } } }) },
    ],
    read: (files) => void parseCheckpoint(textOf(files['c']), 'r1'),
  },
  { name: 'hub', seeds: () => [hubFiles()], read: async (files, folder) => readFromHub(files, await folder()) },
  {
    name: 'conversations',
    seeds: () => CONVERSATIONS.map(([, row]) => ({ 'a.jsonl': `${JSON.stringify(row)}\n` })),
    async read(files) {
      const file = await openRows(memorySource('a.jsonl', bytesOf(files['a.jsonl'])));
      for await (const row of file.rows) {
        if ('value' in row) for (const [format] of CONVERSATIONS) readConversation(row.value, format, true);
      }
    },
  },
  {
    name: 'requests',
    seeds: () => [
      {
        'r.jsonl':
          '{"prompt": "a"}\n{"messages": [{"role": "user", "content": "b"}], "adapter": null}\n{"prompt_tokens": [1, 2]}\n',
      },
    ],
    async read(files, folder) {
      const { writeFile } = await import('node:fs/promises');
      const path = `${await folder()}/r.jsonl`;
      await writeFile(path, bytesOf(files['r.jsonl']));
      await readRequests(path);
    },
  },
];
