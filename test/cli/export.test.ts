import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { localDirectory } from '../../src/io/node.js';
import { lowrank } from '../support/cli.js';
import { goldenFolder } from '../support/goldens.js';
import { itReferences, referencePath } from '../support/references.js';

const MODEL = goldenFolder('qwen3') as string;
const ADAPTER = join(MODEL, 'golden/lora/adapter');

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-export-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const to = (name: string): string => join(folder, name);
const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

describe('lowrank export', () => {
  it('peft: both files byte for byte, with a table of what was written', async () => {
    const { status, stdout, stderr } = await lowrank('export', ADAPTER, '--format', 'peft', '-o', to('peft'));
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/adapter_config\.json +[\d.]+ KiB\nadapter_model\.safetensors +[\d.]+ KiB/);
    for (const name of ['adapter_config.json', 'adapter_model.safetensors'])
      expect(sha256(to(`peft/${name}`))).toBe(sha256(join(ADAPTER, name)));
  });

  it('merged: a model directory that evaluates, in shards', async () => {
    const { status, stdout, stderr } = await lowrank(
      'export',
      ADAPTER,
      '--format',
      'merged',
      '--model',
      MODEL,
      '-o',
      to('merged'),
      '--max-shard-size',
      '200KB',
    );
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('model.safetensors.index.json');
    const [merged, base] = [
      await openCheckpoint(localDirectory(to('merged'))),
      await openCheckpoint(localDirectory(MODEL)),
    ];
    expect(merged.names().sort()).toEqual(base.names().sort());
    await merged.close();
    await base.close();
    const inspected = await lowrank('inspect', to('merged'));
    expect(inspected.status, inspected.stderr).toBe(0);
    expect(inspected.stdout).toContain('a model');
  });

  it('gguf: a folder for Ollama, or one file', async () => {
    const outcome = await lowrank(
      'export',
      ADAPTER,
      '--format',
      'gguf',
      '--model',
      MODEL,
      '-o',
      to('gguf'),
      '--from',
      'qwen3:0.6b',
      '--dtype',
      'float16',
    );
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain('note: Modelfile: the tokenizer has no chat template');
    expect(await readFile(to('gguf/Modelfile'), 'utf8')).toBe('FROM qwen3:0.6b\nADAPTER ./adapter.gguf\n');
    const single = await lowrank(
      'export',
      ADAPTER,
      '--format',
      'gguf',
      '--model',
      MODEL,
      '-o',
      to('one.gguf'),
      '--dtype',
      'float16',
    );
    expect(single.status, single.stderr).toBe(0);
    expect(sha256(to('one.gguf'))).toBe(sha256(to('gguf/adapter.gguf')));
    const again = await lowrank('export', ADAPTER, '--format', 'gguf', '--model', MODEL, '-o', to('one.gguf'));
    expect(again).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('one.gguf: is there already; --overwrite replaces it') as string,
    });
  });

  it('gguf: the template is that of the tokenizer beside the adapter, where there is one', async () => {
    await cp(ADAPTER, to('chatty'), { recursive: true });
    const tokenizer = 'configs/quickstart/base';
    const config = JSON.parse(await readFile(join(tokenizer, 'tokenizer_config.json'), 'utf8')) as object;
    const template =
      "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    await writeFile(to('chatty/tokenizer_config.json'), JSON.stringify({ ...config, chat_template: template }));
    await cp(join(tokenizer, 'tokenizer.json'), to('chatty/tokenizer.json'));
    const { status, stderr } = await lowrank(
      'export',
      to('chatty'),
      '--format',
      'gguf',
      '--model',
      MODEL,
      '-o',
      to('chatty-gguf'),
    );
    expect(status, stderr).toBe(0);
    expect(await readFile(to('chatty-gguf/Modelfile'), 'utf8')).toMatch(/TEMPLATE """[^]*<\|im_start\|>assistant/);
  });

  it('mlx: with the layers of the model where it is named', async () => {
    const { status, stderr } = await lowrank('export', ADAPTER, '--format', 'mlx', '--model', MODEL, '-o', to('mlx'));
    expect(status, stderr).toBe(0);
    expect(await readdir(to('mlx'))).toEqual(['adapter_config.json', 'adapters.safetensors']);
    expect(JSON.parse(await readFile(to('mlx/adapter_config.json'), 'utf8'))).toMatchObject({
      fine_tune_type: 'lora',
      num_layers: 2,
    });
  });

  it('refuses flags that mean nothing, all at once, before anything is read', async () => {
    const outcome = await lowrank(
      'export',
      './no-such',
      '--format',
      'mlx',
      '-o',
      to('x'),
      '--portable',
      '--dtype',
      'float16',
      '--max-shard-size',
      '1GB',
      '--from',
      'y',
      '--requantize',
      'nf4',
      '--text',
      'z.txt',
    );
    expect(outcome.status).toBe(2);
    for (const flag of ['portable', 'dtype', 'max-shard-size', 'from', 'requantize', 'text'])
      expect(outcome.stderr).toContain(`--${flag} means nothing to --format mlx`);
    expect(
      (await lowrank('export', ADAPTER, '--format', 'merged', '-o', to('x'), '--max-shard-size', '5 bananas')).stderr,
    ).toContain('expected a size such as 5GB');
    expect(
      (await lowrank('export', ADAPTER, '--format', 'gguf', '-o', to('x'), '--dtype', 'bfloat16')).stderr,
    ).toContain('a GGUF adapter is float32 or float16');
  });

  it('never replaces a folder unasked, nor one that it reads', async () => {
    await cp(ADAPTER, to('in/adapter'), { recursive: true });
    await mkdir(to('full'));
    await writeFile(to('full/thesis.tex'), 'x');
    const full = await lowrank('export', ADAPTER, '--format', 'peft', '-o', to('full'));
    expect(full).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('holds files already; --overwrite replaces the folder') as string,
    });
    for (const output of ['in/adapter', 'in']) {
      const own = await lowrank('export', to('in/adapter'), '--format', 'peft', '-o', to(output), '--overwrite');
      expect(own).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('which is read for this export') as string,
      });
    }
    expect(readdirSync(to('in/adapter')).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    expect((await lowrank('export', ADAPTER, '--format', 'peft', '-o', to('full'), '--overwrite')).status).toBe(0);
    expect(existsSync(to('full/thesis.tex'))).toBe(false);
  });

  it('leaves nothing behind when it fails', async () => {
    const model = to('broken-model');
    await cp(MODEL, model, { recursive: true });
    const bytes = await readFile(join(model, 'model.safetensors'));
    bytes.writeUInt32LE(0x7fc00000, bytes.length - 4);
    await writeFile(join(model, 'model.safetensors'), bytes);
    const { status, stderr } = await lowrank(
      'export',
      ADAPTER,
      '--format',
      'merged',
      '--model',
      model,
      '-o',
      to('failed'),
      '--dtype',
      'float16',
    );
    expect(status).toBe(3);
    expect(stderr).toMatch(/broken-model\/model\.safetensors: .+: element \d+ is NaN, allowed finite numbers/);
    expect(readdirSync(folder).filter((name) => name.includes('failed'))).toEqual([]);
  });

  itReferences('inspects every adapter of others, and exports it with no model at hand', 'adapters', async () => {
    for (const name of readdirSync(referencePath('adapters'))) {
      const source = referencePath(`adapters/${name}`);
      const inspected = await lowrank('inspect', source, '--json');
      expect(inspected.status, inspected.stderr).toBe(0);
      expect(JSON.parse(inspected.stdout)).toMatchObject({ kind: 'adapter', problems: [] });
      const { status, stderr } = await lowrank(
        'export',
        source,
        '--format',
        'peft',
        '--portable',
        '-o',
        to(`peft-${name}`),
      );
      expect(status, stderr).toBe(0);
      for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
        expect(sha256(to(`peft-${name}/${file}`)), file).toBe(sha256(join(source, file)));
    }
  });
});

describe('lowrank quantize', () => {
  it('writes a 4-bit model directory that can be loaded', async () => {
    const { status, stdout, stderr } = await lowrank(
      'quantize',
      MODEL,
      '-o',
      to('q4'),
      '--quant-type',
      'fp4',
      '--no-double-quant',
      '--blocksize',
      '128',
      '--compute-dtype',
      'bfloat16',
    );
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/model\.safetensors +[\d.]+ KiB/);
    const config = JSON.parse(await readFile(to('q4/config.json'), 'utf8')) as { quantization_config: object };
    expect(config.quantization_config).toMatchObject({
      bnb_4bit_quant_type: 'fp4',
      bnb_4bit_use_double_quant: false,
      bnb_4bit_compute_dtype: 'bfloat16',
    });
    expect((await lowrank('inspect', to('q4'))).status).toBe(0);
    const twice = await lowrank('quantize', to('q4'), '-o', to('q8'));
    expect(twice).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('the model is quantised already') as string,
    });
    expect(existsSync(to('q8'))).toBe(false);
  });

  it('merges an adapter into a 4-bit model in float', async () => {
    const { status, stderr } = await lowrank(
      'export',
      ADAPTER,
      '--format',
      'merged',
      '--model',
      to('q4'),
      '-o',
      to('q4-merged'),
    );
    expect(status, stderr).toBe(0);
    expect(await readFile(to('q4-merged/config.json'), 'utf8')).not.toContain('quantization_config');
    const checkpoint = await openCheckpoint(localDirectory(to('q4-merged')));
    expect(new Set(checkpoint.names().map((name) => checkpoint.info(name).dtype))).toEqual(new Set(['F32']));
    await checkpoint.close();
  });

  it('refuses other block sizes', async () => {
    expect(await lowrank('quantize', MODEL, '-o', to('x'), '--blocksize', '48')).toMatchObject({ status: 2 });
  });
});
