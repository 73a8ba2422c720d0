import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeSafetensors, float32Tensor, SafetensorsFile, type TensorBytes } from '../../src/io/safetensors.js';
import { memorySource } from '../../src/io/source.js';
import { lowrank } from '../support/cli.js';
import { countingRows, TINY_CONFIG, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let root: string;
let good: string;
let folder: string;
let count = 0;

const CONFIG = `
model: ./model
device: cpu
adapter: { r: 2, target_modules: [q_proj, v_proj] }
data: { train: train.jsonl }
training: { output_dir: out, max_steps: 1, per_device_train_batch_size: 2 }
`;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'lowrank-errors-'));
  good = join(root, 'good');
  await writeTinyModel(join(good, 'model'));
  await writeFile(join(good, 'train.jsonl'), toJsonl(countingRows(4, 1)));
  await writeFile(join(good, 'run.yaml'), CONFIG);
  // A real adapter to spoil: a run with these very settings.
  const { status, stderr } = await lowrank(
    'train',
    join(good, 'run.yaml'),
    '--set',
    `training.output_dir=${join(good, 'adapter')}`,
  );
  expect(status, stderr).toBe(0);
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

beforeEach(async () => {
  folder = join(root, `case-${count++}`);
  await cp(good, folder, { recursive: true });
});

const inFolder = (path: string): string => join(folder, path);

/** Runs training and expects one error, and that nothing was written. */
async function refused(status: number, ...sets: string[]): Promise<string> {
  const before = await readdir(folder);
  const outcome = await lowrank('train', inFolder('run.yaml'), ...sets.flatMap((set) => ['--set', set]));
  expect(outcome.stderr).toContain('lowrank: ');
  expect({ status: outcome.status, stdout: outcome.stdout }, outcome.stderr).toEqual({ status, stdout: '' });
  expect(outcome.stderr.match(/^lowrank: /gm)).toHaveLength(1);
  expect(outcome.stderr).not.toMatch(/unexpected error|\n {4}at /);
  expect(await readdir(folder), 'the output folder').toEqual(before);
  return outcome.stderr.slice(outcome.stderr.indexOf('lowrank: '));
}

async function editJson(path: string, change: Record<string, unknown>): Promise<void> {
  const json = JSON.parse(await readFile(inFolder(path), 'utf8')) as Record<string, unknown>;
  await writeFile(inFolder(path), JSON.stringify({ ...json, ...change }));
}

async function editTensors(path: string, edit: (tensors: Map<string, TensorBytes>) => void): Promise<void> {
  const file = await SafetensorsFile.open(memorySource(path, await readFile(inFolder(path))));
  const tensors = new Map<string, TensorBytes>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.read(name));
  edit(tensors);
  await writeFile(inFolder(path), encodeSafetensors(tensors));
}

describe('lowrank train refuses', () => {
  it('an unknown key of the config, with its place', async () => {
    await writeFile(inFolder('run.yaml'), CONFIG.replace('max_steps', 'max_step'));
    expect(await refused(2)).toMatch(/run\.yaml:6:30: training\.max_step unknown key: did you mean max_steps\?/);
  });

  it('a config and data files that are not there, all of them', async () => {
    expect((await lowrank('train', inFolder('none.yaml'))).stderr).toMatch(
      /^lowrank: cannot read the config .*none\.yaml: ENOENT/,
    );
    const error = await refused(
      2,
      `data.train=[${inFolder('a.jsonl')}, ${inFolder('b.jsonl')}]`,
      `data.validation=${inFolder('c.jsonl')}`,
    );
    expect(error).toMatch(
      /data\.train: .*a\.jsonl: no such file\ndata\.train: .*b\.jsonl: no such file\ndata\.validation: .*c\.jsonl/,
    );
  });

  it('a model folder that is not there', async () => {
    expect(await refused(2, 'model=./nowhere')).toMatch(/nowhere: no such folder$/m);
  });

  it('an output folder that holds files, before the model is looked at', async () => {
    await mkdir(inFolder('out'));
    await writeFile(inFolder('out/notes.txt'), 'mine');
    await rm(inFolder('model'), { recursive: true });
    expect(await refused(2)).toMatch(/training\.output_dir: .*out holds files already/);
    expect(await readFile(inFolder('out/notes.txt'), 'utf8')).toBe('mine');
  });

  it('and with leave to overwrite replaces only what it writes, at the end', async () => {
    await mkdir(inFolder('out'));
    await writeFile(inFolder('out/notes.txt'), 'mine');
    await writeFile(inFolder('out/adapter_config.json'), 'earlier');
    const { status, stderr } = await lowrank(
      'train',
      inFolder('run.yaml'),
      '--set',
      'training.overwrite_output_dir=true',
    );
    expect(status, stderr).toBe(0);
    expect(await readFile(inFolder('out/notes.txt'), 'utf8')).toBe('mine');
    expect(JSON.parse(await readFile(inFolder('out/adapter_config.json'), 'utf8'))).toMatchObject({ r: 2 });
  });

  it('weights that were cut', async () => {
    const bytes = await readFile(inFolder('model/model.safetensors'));
    await writeFile(inFolder('model/model.safetensors'), bytes.subarray(0, bytes.length - 100));
    expect(await refused(3)).toMatch(/model\.safetensors:?[\s\S]*data_offsets/);
    await writeFile(inFolder('model/model.safetensors'), bytes.subarray(0, 5));
    expect(await refused(3)).toMatch(/model\.safetensors: found 5 bytes/);
  });

  it('a config.json with absurd sizes, all fields at once', async () => {
    await editJson('model/config.json', { hidden_size: 1e9, num_hidden_layers: -3, vocab_size: 'many' });
    const error = await refused(3);
    expect(error).toMatch(/config\.json: hidden_size: found 1000000000, allowed an integer from 1 to \d+/);
    expect(error).toContain('num_hidden_layers: found -3');
    expect(error).toContain('vocab_size: found "many"');
  });

  it('a config.json that its weights do not fit', async () => {
    await editJson('model/config.json', { intermediate_size: 2 ** 24, vocab_size: 64 });
    const error = await refused(3);
    expect(error).toContain('model.embed_tokens.weight: found [32, 32], config.json says [64, 32]');
    expect(error).toContain('mlp.down_proj.weight: found [32, 48], config.json says [32, 16777216]');
  });

  it.each([
    ['nothing', '', /train\.jsonl: the file is empty/],
    [
      'bytes that are no UTF-8',
      Buffer.from('{"input_ids": [1, 2]}\n{"input_ids": "\xff"}\n', 'latin1'),
      /train\.jsonl[\s\S]*line 2: not valid UTF-8/,
    ],
    [
      'mixed rows',
      '{"input_ids": [1, 2]}\n{"prompt": "a", "completion": "b"}\n',
      /train\.jsonl[\s\S]*line 2: mixed formats: this row is completion, line 1 is tokens/,
    ],
    ['half a line', '{"input_ids": [1, 2]}\n{"input_ids": [1,\n', /train\.jsonl[\s\S]*line 2: invalid JSON/],
    [
      'tokens that the model does not have',
      '{"input_ids": [1, 2]}\n{"input_ids": [3, 32]}\n',
      /train\.jsonl[\s\S]*line 2: token id 32 at 1 is outside of the vocabulary of 32/,
    ],
    [
      'nothing to learn',
      '{"input_ids": [1]}\n',
      /no row is left to learn from; 1 left out:\n.*train\.jsonl, row 1: nothing to learn/,
    ],
    ['text for a model without tokenizer', '{"text": "a"}\n', /need a tokenizer, and this model has none/],
  ])('data of %s', async (_what, content, message) => {
    await writeFile(inFolder('train.jsonl'), content);
    expect(await refused(message.source.includes('tokenizer') ? 2 : 3)).toMatch(message);
  });

  it('a template that does not parse, and one that throws on a row', async () => {
    await writeFile(inFolder('train.jsonl'), toJsonl([{ question: 'a' }, { question: 'b' }]));
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      await cp(join('configs/quickstart/base', file), inFolder(`model/${file}`));
    expect(await refused(2, "data.template='{{ question'")).toMatch(/template/);
    const error = await refused(3, 'data.template="{{ raise_exception(question) }}"');
    expect(error).toMatch(/train\.jsonl[\s\S]*line 1: .*template/);
  });

  it('target modules that the model does not have', async () => {
    expect(await refused(2, 'adapter.target_modules=[q_proj, c_attn]')).toMatch(
      /target_modules: no linear layer is called "c_attn"; the model has q_proj/,
    );
  });

  it('an adapter to go on from that does not fit, every tensor named', async () => {
    await editTensors('adapter/adapter_model.safetensors', (tensors) => {
      tensors.delete('base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight');
      tensors.set(
        'base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight',
        float32Tensor([3, 2], new Float32Array(6)),
      );
      tensors.set(
        'base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight',
        float32Tensor([1], new Float32Array(1)),
      );
    });
    const error = await refused(3, `adapter.init_from=${inFolder('adapter')}`);
    expect(error).toMatch(/adapter: the adapter does not fit the model: /);
    expect(error).toContain('layers.0.self_attn.q_proj.lora_A.weight: missing, expected [2, 32]');
    expect(error).toContain('layers.1.self_attn.v_proj.lora_B.weight: found [3, 2], expected [16, 2]');
    expect(error).toContain('layers.9.self_attn.q_proj.lora_A.weight: unexpected');
  });

  it('a device that is not there', async () => {
    expect(await refused(4, 'device=node-gpu')).toMatch(
      /node-gpu: @tensorflow\/tfjs-node-gpu is not installed \(npm install/,
    );
  });
});

describe('other commands refuse', () => {
  const model = (): string[] => ['--model', inFolder('model'), '--device', 'cpu'];

  it('an adapter that does not fit, with everything that is wrong with it', async () => {
    await editJson('adapter/adapter_config.json', { r: 4 });
    const fit = await lowrank('inspect', inFolder('adapter'), '--model', inFolder('model'), '--json');
    expect(fit.status).toBe(3);
    expect(fit.stderr).toMatch(/^lowrank: .*adapter: the adapter does not fit .*model: 8 mismatches\n$/);
    const { fit: report } = JSON.parse(fit.stdout) as { fit: { fits: boolean; mismatches: string[] } };
    expect(report.fits).toBe(false);
    expect(report.mismatches).toHaveLength(8);
    expect(report.mismatches[0]).toMatch(/found \[2, 32\], expected \[4, 32\]/);

    const evaluated = await lowrank(
      'eval',
      ...model(),
      '--adapter',
      inFolder('adapter'),
      '--data',
      inFolder('train.jsonl'),
    );
    expect(evaluated).toMatchObject({ status: 3, stdout: '' });
    expect(evaluated.stderr).toContain('the adapter does not fit the model');
  });

  it('an adapter that asks for what is not there', async () => {
    await editJson('adapter/adapter_config.json', { bias: 'all', lora_bias: true });
    const { status, stderr } = await lowrank(
      'generate',
      ...model(),
      '--adapter',
      inFolder('adapter'),
      '--prompt-tokens',
      '1',
    );
    expect(status).toBe(3);
    expect(stderr).toMatch(/adapter_config\.json: bias: "all" is not supported; lora_bias: true is not supported/);
  });

  it('a model whose weights do not fit, in inspect too', async () => {
    await editJson('model/config.json', { vocab_size: TINY_CONFIG.vocab_size + 1 });
    const { status, stdout, stderr } = await lowrank('inspect', inFolder('model'));
    expect(status).toBe(3);
    expect(stdout).toContain('model.embed_tokens.weight: found [32, 32], config.json says [33, 32]');
    expect(stderr).toMatch(/the model cannot be loaded/);
  });

  it('a folder that is neither model nor adapter, and a broken file', async () => {
    expect(await lowrank('inspect', inFolder('.'))).toMatchObject({
      status: 3,
      stdout: '',
      stderr: expect.stringContaining('neither a model (config.json) nor an adapter'),
    });
    await writeFile(inFolder('model/model.safetensors'), 'no safetensors file');
    expect(await lowrank('inspect', inFolder('model/model.safetensors'))).toMatchObject({
      status: 3,
      stdout: '',
      stderr: expect.stringContaining('header length'),
    });
  });

  it('prompts that cannot be continued', async () => {
    const outcome = (...args: string[]): Promise<{ status: number | null; stderr: string }> =>
      lowrank('generate', ...model(), ...args);
    expect((await outcome()).stderr).toContain(
      'give one of --prompt, --messages, --row, --prompt-tokens and --requests',
    );
    expect(await outcome('--prompt', 'a')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('has no tokenizer.json'),
    });
    expect(await outcome('--prompt-tokens', '1,99')).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('the prompt holds token 99; the model has 32'),
    });
    expect(await outcome('--prompt-tokens', '1,x')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('--prompt-tokens x: expected an integer'),
    });
    expect(await outcome('--prompt-tokens', '1', '--top-p', '2')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('--top-p 2: expected a number from 0 to 1'),
    });
    await writeFile(inFolder('chat.json'), '{"messages": [{"content": "a"}]}');
    expect(await outcome('--messages', inFolder('chat.json'))).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('chat.json: messages: expected a list'),
    });
  });
});
