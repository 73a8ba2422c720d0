import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { localDirectory } from '../../src/io/node.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { lowrank, type Outcome } from '../support/cli.js';
import { toJsonl, writeTinyModel } from '../support/tiny-model.js';

const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' + (prefix or '') }}{% endif %}";
const QUESTION = [{ role: 'user', content: 'Who met whom?' }];

let root = '';
let project = '';
let chat = '';
let rows = '';
let tokenizer: Tokenizer;
const at = (...parts: string[]): string => join(project, ...parts);

async function run(...args: string[]): Promise<Outcome> {
  const outcome = await lowrank(...args, '--device', 'wasm');
  expect(outcome.status, outcome.stderr).toBe(0);
  return outcome;
}

const json = <T>({ stdout }: Outcome): T => JSON.parse(stdout.trim().split('\n').at(-1) as string) as T;
const warnings = ({ stderr }: Outcome): string[] => stderr.split('\n').filter((line) => line.startsWith('warning'));

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'lowrank-run-folder-'));
  project = join(root, 'project');
  await mkdir(at('models'), { recursive: true });
  // A base without a chat template.
  await cp(resolve('configs/quickstart/base'), at('models/base'), { recursive: true });
  tokenizer = (await loadTokenizer(localDirectory(at('models/base')))) as Tokenizer;
  expect(tokenizer.chatTemplate).toBeUndefined();
  await writeFile(at('t.jinja'), CHATML);
  const turns = Array.from({ length: 12 }, (_, i) => ({
    messages: [...QUESTION, { role: 'assistant', content: `Anna met Tom ${i} times.` }],
  }));
  await writeFile(at('chat.jsonl'), toJsonl(turns));
  await writeFile(at('m.json'), JSON.stringify(QUESTION));
  const shared = {
    model: './models/base',
    device: 'wasm',
    training: { max_steps: 4, save_strategy: 'steps', save_steps: 2, learning_rate: 0.005 },
  };
  const chatData = {
    train: './chat.jsonl',
    validation: './chat.jsonl',
    chat_template: './t.jinja',
    chat_template_kwargs: { prefix: 'So: ' },
    max_length: 128,
  };
  await writeFile(
    at('chat.yaml'),
    JSON.stringify({
      ...shared,
      quantization: { load_in_4bit: true, bnb_4bit_use_double_quant: false },
      data: chatData,
      training: { ...shared.training, output_dir: './out/chat' },
    }),
  );
  await writeFile(
    at('rows.jsonl'),
    toJsonl(Array.from({ length: 12 }, (_, i) => ({ dialogue: `Anna: hi ${i}`, summary: ` Anna greets ${i}.` }))),
  );
  const rowData = {
    train: './rows.jsonl',
    validation: './rows.jsonl',
    template: 'Sum up:\n{{ dialogue }}\nSummary:',
    completion_field: 'summary',
    train_on: 'all',
    max_length: 64,
  };
  await writeFile(
    at('rows.yaml'),
    JSON.stringify({ ...shared, data: rowData, training: { ...shared.training, output_dir: './out/rows' } }),
  );
  for (const name of ['chat', 'rows']) {
    const { status, stderr } = await lowrank('train', at(`${name}.yaml`));
    expect(status, stderr).toBe(0);
  }
  chat = at('out/chat');
  rows = at('out/rows');
});

afterAll(() => rm(root, { recursive: true, force: true }));

/** What a generation has to be asked for this conversation. */
const asked = (): number =>
  tokenizer.encode(`<|im_start|>user\nWho met whom?<|im_end|>\n<|im_start|>assistant\nSo: `, {
    addSpecialTokens: false,
  }).length;

describe('a run folder', () => {
  it('has the chat template of its training, and paths that stay right when the project moves', async () => {
    expect(await readFile(join(chat, 'chat_template.jinja'), 'utf8')).toBe(CHATML);
    expect(await readFile(join(chat, 'checkpoint-2/chat_template.jinja'), 'utf8')).toBe(CHATML);
    const config = parse(await readFile(join(chat, 'config.yaml'), 'utf8')) as {
      model: string;
      data: { train: string };
      training: { output_dir: string };
    };
    expect([config.model, config.data.train, config.training.output_dir]).toEqual([
      '../../models/base',
      '../../chat.jsonl',
      './',
    ]);
    const checkpoint = parse(await readFile(join(chat, 'checkpoint-2/config.yaml'), 'utf8')) as typeof config;
    expect([checkpoint.model, checkpoint.training.output_dir]).toEqual(['../../../models/base', '..']);
  });

  it.each(['', 'checkpoint-2'])(
    'generates with the template, its variables and the quantisation of the training: %s',
    async (below) => {
      const outcome = await run(
        'generate',
        join(chat, below),
        '--messages',
        at('m.json'),
        '--max-new-tokens',
        '3',
        '--json',
      );
      expect(json<{ prompt_tokens: number }>(outcome).prompt_tokens).toBe(asked());
      expect(outcome.stderr).toMatch(/base model: .*models\/base, nf4 \(from/);
      expect(warnings(outcome)).toEqual([]);
    },
  );

  it('evaluates its validation rows to the loss that the training had', async () => {
    for (const [folder, data] of [
      [chat, 'chat.jsonl'],
      [rows, 'rows.jsonl'],
    ] as const) {
      const { results } = JSON.parse(await readFile(join(folder, 'training_record.json'), 'utf8')) as {
        results: { eval_loss: number };
      };
      const { loss } = json<{ loss: number }>(await run('eval', folder, '--data', at(data), '--json'));
      expect(loss).toBeCloseTo(results.eval_loss, 6);
      // Behind the data, and as flags.
      expect(json<{ loss: number }>(await run('eval', '--json', '--data', at(data), folder)).loss).toBe(loss);
      expect(
        json<{ loss: number }>(
          await run('eval', '--json', '--adapter', folder, '--model', at('models/base'), '--data', at(data)),
        ).loss,
      ).toBe(loss);
    }
  });

  it('lets flags say otherwise', async () => {
    const same = await run('eval', rows, '--data', at('rows.jsonl'), '--json');
    const other = await run(
      'eval',
      rows,
      '--data',
      at('rows.jsonl'),
      '--json',
      '--train-on',
      'completion',
      '--template',
      'Short:\n{{ dialogue }}\n',
    );
    expect(json<{ tokens: number }>(other).tokens).toBeLessThan(json<{ tokens: number }>(same).tokens);
    const raw = await run(
      'generate',
      chat,
      '--messages',
      at('m.json'),
      '--max-new-tokens',
      '1',
      '--json',
      '--chat-template',
      '{{ messages[0].content }}{{ prefix }}',
    );
    expect(json<{ prompt_tokens: number }>(raw).prompt_tokens).toBe(
      tokenizer.encode('Who met whom?So: ', { addSpecialTokens: false }).length,
    );
  });

  it('writes the prompt of a row as in training, from the command line and in requests', async () => {
    const prompt = tokenizer.encode('Sum up:\nAnna: hi\nSummary:').length;
    expect(
      json<{ prompt_tokens: number }>(
        await run('generate', rows, '--row', '{"dialogue": "Anna: hi"}', '--max-new-tokens', '1', '--json'),
      ).prompt_tokens,
    ).toBe(prompt);
    await writeFile(at('requests.jsonl'), toJsonl([{ row: { dialogue: 'Anna: hi' } }, { prompt: 'Anna' }]));
    const { stdout } = await run('generate', rows, '--requests', at('requests.jsonl'), '--max-new-tokens', '1');
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { prompt_tokens: number }).prompt_tokens),
    ).toEqual([prompt, tokenizer.encode('Anna').length]);
    const missing = await lowrank('generate', rows, '--row', '{"text": "x"}', '--device', 'wasm');
    expect(missing.status).toBe(3);
    expect(missing.stderr).toContain('"dialogue"');
    const conversation = await run(
      'generate',
      chat,
      '--row',
      JSON.stringify({ messages: QUESTION }),
      '--max-new-tokens',
      '1',
      '--json',
    );
    expect(json<{ prompt_tokens: number }>(conversation).prompt_tokens).toBe(asked());
  });

  it('is verified, inspected and exported without being told of its base or template', async () => {
    const { checks } = json<{ checks: { name: string; outcome: string }[] }>(await run('verify', chat, '--json'));
    expect(checks.filter(({ outcome }) => outcome !== 'passed')).toEqual([]);
    const { stdout } = await lowrank('inspect', chat);
    expect(stdout).toContain('trained over');
    expect(stdout.replace(/\n */g, ' ')).toContain('models/base, in nf4');
    expect(stdout).toContain(`fits ${at('models/base')}`);
    const merged = await run('export', chat, '--format', 'merged', '-o', join(root, 'merged'));
    expect(warnings(merged)).toEqual([]);
    expect(await readFile(join(root, 'merged/chat_template.jinja'), 'utf8')).toBe(CHATML);
    expect((await loadTokenizer(localDirectory(join(root, 'merged'))))?.chatTemplate).toBe(CHATML);
    const plain =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    await run('export', chat, '--format', 'gguf', '-o', join(root, 'gguf'), '--chat-template', plain);
    expect(await readFile(join(root, 'gguf/Modelfile'), 'utf8')).toContain('<|im_start|>');
  });

  it('warns in one line of another base and of another quantisation, each', async () => {
    const other = join(root, 'other');
    await cp(at('models/base'), other, { recursive: true });
    const bytes = await readFile(join(other, 'model.safetensors'));
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
    await writeFile(join(other, 'model.safetensors'), bytes);
    const based = warnings(await run('generate', chat, '--model', other, '--prompt', 'Anna', '--max-new-tokens', '1'));
    expect(based).toHaveLength(1);
    expect(based[0]).toMatch(/other is not the base model that .*chat was trained on .*model\.safetensors differs/);
    for (const type of ['none', 'fp4']) {
      const held = warnings(
        await run('generate', chat, '--quantize', type, '--prompt', 'Anna', '--max-new-tokens', '1'),
      );
      expect(held).toHaveLength(1);
      expect(held[0]).toMatch(/was trained over nf4 without double quantisation/);
    }
    expect(
      warnings(await run('generate', chat, '--quantize', 'nf4', '--prompt', 'Anna', '--max-new-tokens', '1')),
    ).toEqual([]);
  });

  it('finds its base when it moved: with the project, beside its base, and not at all', async () => {
    const moved = join(root, 'moved');
    await cp(project, moved, { recursive: true });
    await rename(at('models'), at('gone'));
    try {
      await run('generate', join(moved, 'out/chat'), '--prompt', 'Anna', '--max-new-tokens', '1');
      await run('eval', join(moved, 'out/chat/checkpoint-4'), '--data', at('chat.jsonl'));
      await rename(join(moved, 'out/chat'), join(moved, 'models/chat'));
      await run('verify', join(moved, 'models/chat'));
      const lost = await lowrank('generate', chat, '--prompt', 'Anna', '--device', 'wasm');
      expect(lost.status).toBe(2);
      expect(lost.stderr).toMatch(
        /chat: its base model is not there any more \(looked for .*models\/base.*\): give it with --model/,
      );
      await run('generate', chat, '--model', at('gone/base'), '--prompt', 'Anna', '--max-new-tokens', '1');
      const inspected = await lowrank('inspect', chat);
      expect(inspected.status).toBe(0);
      expect(inspected.stdout.split('\n').filter((line) => line.startsWith('not checked'))).toEqual([
        expect.stringMatching(/^not checked against its base model: .*chat: its base model is not there any more/),
      ]);
      expect(inspected.stdout).toContain('peft_type');
    } finally {
      await rename(at('gone'), at('models'));
    }
  });

  it('may be a bare PEFT adapter, whose base adapter_config.json names', async () => {
    const bare = join(root, 'bare');
    await mkdir(bare);
    for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
      await cp(join(rows, file), join(bare, file));
    await run('generate', bare, '--prompt', 'Anna', '--max-new-tokens', '1');
    await run(
      'eval',
      bare,
      '--data',
      at('rows.jsonl'),
      '--template',
      '{{ dialogue }}',
      '--completion-field',
      'summary',
    );
    await run('export', bare, '--format', 'merged', '-o', join(root, 'bare-merged'));
  });

  it('is checked against the base that it names when it is inspected', async () => {
    const bare = join(root, 'inspected');
    await mkdir(bare);
    await cp(join(rows, 'adapter_model.safetensors'), join(bare, 'adapter_model.safetensors'));
    const config = JSON.parse(await readFile(join(rows, 'adapter_config.json'), 'utf8')) as object;
    const named = (model: string | null): Promise<void> =>
      writeFile(
        join(bare, 'adapter_config.json'),
        JSON.stringify({ ...config, base_model_name_or_path: model, revision: null }),
      );
    interface Inspected {
      readonly fit?: { readonly fits: boolean; readonly model: string };
      readonly fit_unchecked?: string;
    }
    const inspect = async (): Promise<Inspected> => json<Inspected>(await lowrank('inspect', bare, '--json'));

    await named(at('models/base'));
    expect((await inspect()).fit).toMatchObject({ fits: true, model: at('models/base') });

    await writeTinyModel(join(root, 'small'));
    await named(join(root, 'small'));
    const misfit = await lowrank('inspect', bare);
    expect(misfit.status).toBe(3);
    expect(misfit.stdout).toContain(`does not fit ${join(root, 'small')}:`);
    expect((await lowrank('inspect', bare, '--model', at('models/base'))).status).toBe(0);

    await named(null);
    expect(await inspect()).toMatchObject({ fit_unchecked: expect.stringContaining('names no base model') as string });

    await mkdir(join(root, 'torn'));
    await writeFile(join(root, 'torn/config.json'), '{"model_type": "llama"');
    await named(join(root, 'torn'));
    expect((await inspect()).fit_unchecked).toContain('torn/config.json');

    // Neither the network nor the cache of this machine is asked.
    vi.stubEnv('HF_HUB_CACHE', join(root, 'hub'));
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9');
    try {
      await named('org/name');
      expect((await inspect()).fit_unchecked).toBe(
        'org/name is neither a folder here nor in the cache of the Hub; --model org/name downloads it',
      );
      const snapshot = join(root, 'hub/models--org--name/snapshots', 'a'.repeat(40));
      await mkdir(snapshot, { recursive: true });
      await mkdir(join(root, 'hub/models--org--name/blobs'), { recursive: true });
      const blob = join(root, 'hub/models--org--name/blobs/config');
      await cp(at('models/base/config.json'), blob);
      await symlink(blob, join(snapshot, 'config.json'));
      await mkdir(join(root, 'hub/models--org--name/refs'));
      await writeFile(join(root, 'hub/models--org--name/refs/main'), 'a'.repeat(40));
      expect((await inspect()).fit).toMatchObject({ fits: true, model: snapshot });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('says what a folder is that is no run', async () => {
    const none = await lowrank('generate', at('out'), '--prompt', 'Anna');
    expect(none.status).toBe(3);
    expect(none.stderr).toMatch(/holds \d+ runs: name one of them, such as chat/);
    const nothing = await lowrank('generate', '--prompt', 'Anna');
    expect([nothing.status, nothing.stderr]).toEqual([2, 'lowrank: name a run, or a model with --model\n']);
    await writeTinyModel(join(root, 'tiny'));
    await run('generate', join(root, 'tiny'), '--prompt-tokens', '1,2', '--max-new-tokens', '1');
    expect((await lowrank('verify', join(root, 'tiny'))).status).toBe(2);
  });
});
