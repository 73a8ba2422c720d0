import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/index.js';
import { localDirectory } from '../../src/node.js';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { describeReferences, referencePath } from '../support/references.js';

const MODEL = referencePath('models/tinystories-656k');
const ADAPTERS = referencePath('adapters');
const ROWS = referencePath('datasets/dialogsum/dialogsum.sample.jsonl');
const PROMPT = '{{ dialogue }}\n\nSummary: ';

describeReferences('a real model and real rows', ['models/tinystories-656k', 'datasets/dialogsum', 'adapters'], () => {
  let folder: string;
  let out: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lowrank-real-'));
    out = join(folder, 'out');
    const lines = (await readFile(ROWS, 'utf8')).trimEnd().split('\n');
    await writeFile(join(folder, 'train.jsonl'), `${lines.slice(0, 40).join('\n')}\n`);
    await writeFile(join(folder, 'validation.jsonl'), `${lines.slice(40, 50).join('\n')}\n`);
    const config = {
      model: MODEL,
      device: 'wasm',
      adapter: { r: 8 },
      data: {
        train: 'train.jsonl',
        validation: 'validation.jsonl',
        template: PROMPT,
        completion_field: 'summary',
        max_length: 384,
      },
      training: {
        output_dir: 'out',
        max_steps: 8,
        per_device_train_batch_size: 4,
        learning_rate: 5e-3,
        logging_steps: 1,
        eval_steps: 4,
      },
    };
    await writeFile(join(folder, 'run.json'), JSON.stringify(config));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('is trained by the command in a process of its own', async () => {
    const { status, stdout, stderr } = await spawnLowrank(['train', join(folder, 'run.json')]);
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: `${out}\n` });
    expect(stderr).toMatch(/^train: \d+ rows \(template\)/m);
    expect(await readdir(out)).toEqual(
      expect.arrayContaining([
        'adapter_config.json',
        'adapter_model.safetensors',
        'tokenizer.json',
        'tokenizer_config.json',
        'special_tokens_map.json',
      ]),
    );
    expect((await readFile(join(out, 'tokenizer.json'))).equals(await readFile(join(MODEL, 'tokenizer.json')))).toBe(
      true,
    );
  });

  it('has a lower loss with the adapter, also in 4 bits', async () => {
    const loss = async (...args: string[]): Promise<number> => {
      const data = [
        '--data',
        join(folder, 'validation.jsonl'),
        '--template',
        PROMPT,
        '--completion-field',
        'summary',
        '--max-length',
        '384',
      ];
      const { stdout, stderr } = await lowrank(
        'eval',
        '--model',
        MODEL,
        '--device',
        'wasm',
        ...data,
        ...args,
        '--json',
      );
      expect(stdout, stderr).toMatch(/^\{"loss":/);
      return (JSON.parse(stdout) as { loss: number }).loss;
    };
    const [base, trained, quantized] = [
      await loss(),
      await loss('--adapter', out),
      await loss('--adapter', out, '--quantize', 'nf4'),
    ];
    expect(trained).toBeLessThan(base - 0.2);
    expect(quantized).not.toBe(trained);
    expect(Math.abs(quantized - trained)).toBeLessThan(0.3);
    const logged = (await readFile(join(out, 'metrics.jsonl'), 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { eval_loss?: number });
    expect(Math.abs(trained - Math.min(...logged.flatMap((line) => line.eval_loss ?? [])))).toBeLessThan(1e-5);
  });

  it('continues a story, streamed or as JSON alike', async () => {
    const args = [
      'generate',
      '--model',
      MODEL,
      '--device',
      'wasm',
      '--prompt',
      'Once upon a time',
      '--max-new-tokens',
      '24',
    ];
    const streamed = await lowrank(...args);
    const object = JSON.parse((await lowrank(...args, '--json')).stdout) as {
      text: string;
      tokens: number[];
      prompt_tokens: number;
    };
    expect(streamed.stdout).toBe(`${object.text}\n`);
    expect(object.tokens.length).toBeLessThanOrEqual(24);
    expect(object.text).toMatch(/^, [\w ,.]+/);
    const tokenizer = await loadTokenizer(localDirectory(MODEL));
    expect(object.prompt_tokens).toBe(tokenizer?.encode('Once upon a time').length);
    expect(streamed.stderr).toMatch(/24 tokens \(no more were allowed\), .* tokens\/s\n$/);
  });

  it('says that it has no chat template when messages are given', async () => {
    await writeFile(join(folder, 'chat.json'), JSON.stringify([{ role: 'user', content: 'Hi' }]));
    const { status, stderr } = await lowrank(
      'generate',
      '--model',
      MODEL,
      '--device',
      'wasm',
      '--messages',
      join(folder, 'chat.json'),
    );
    expect(status).toBe(2);
    expect(stderr).toMatch(/tokenizer\.json has no chat template/);
  });

  it('is described by inspect', async () => {
    const { status, stdout } = await lowrank('inspect', MODEL, '--tensors');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /architecture +llama, 2 layers, hidden 128, 8 heads \(4 for keys and values\), vocabulary 2048, context 512/,
    );
    expect(stdout).toMatch(/tokenizer +2048 tokens, without a chat template/);
    expect(stdout).toMatch(/model\.layers\.1\.mlp\.down_proj\.weight +F32 +\[128, 384\]/);
    expect(JSON.parse((await lowrank('inspect', MODEL, '--json')).stdout)).toMatchObject({
      kind: 'model',
      model_type: 'llama',
      problems: [],
      config: { family: 'llama', numLayers: 2 },
    });
  });

  it('is told from the models that adapters of others were made for', async () => {
    const adapter = join(ADAPTERS, 'tinyllama-1.1b_r4_qv');
    const alone = await lowrank('inspect', adapter);
    expect(alone.status).toBe(0);
    expect(alone.stdout).toMatch(/base_model_name_or_path +TinyLlama/);
    const fit = await lowrank('inspect', adapter, '--model', MODEL);
    expect(fit.status).toBe(3);
    // 22 layers, q and v, A and B: two layers are there in another shape, twenty are not.
    expect(fit.stdout.match(/: found \[/g)).toHaveLength(8);
    expect(fit.stdout.match(/: unexpected/g)).toHaveLength(80);
    for (const name of await readdir(ADAPTERS)) {
      const { status, stdout } = await lowrank('inspect', join(ADAPTERS, name), '--json');
      expect(status, name).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ kind: 'adapter' });
    }
  });
});
