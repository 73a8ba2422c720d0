import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { describeReferences, referencePath } from '../support/references.js';
import { modelFiles, TINY_CONFIG } from '../support/tiny-model.js';

/*
 * Conversations that are read in place and go through the commands: what `lowrank data` shows as learnt, and what
 * training, evaluation and generation make of them.
 */
const CHAT = 'cases/chat';
const SIZES = { smollm: 49152, llama2: 32000 };
type Name = keyof typeof SIZES;

let folder: string;
/** Where the last config written has its run. */
let out: string;
let runs = 0;

/**
 * A model with random weights beside a tokenizer; `settings` go over those of tokenizer_config.json, null takes one
 * away.
 */
async function writeModel(name: string, tokenizer: Name, settings: Record<string, unknown> = {}): Promise<void> {
  const directory = join(folder, name);
  await mkdir(directory);
  await copyFile(referencePath(`tokenizers/${tokenizer}/tokenizer.json`), join(directory, 'tokenizer.json'));
  const config = { ...((await readJson(`tokenizers/${tokenizer}/tokenizer_config.json`)) as object), ...settings };
  await writeFile(
    join(directory, 'tokenizer_config.json'),
    JSON.stringify(Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null))),
  );
  const model = {
    ...TINY_CONFIG,
    vocab_size: SIZES[tokenizer],
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 512,
    tie_word_embeddings: true,
  };
  for (const [file, content] of Object.entries(modelFiles(model))) await writeFile(join(directory, file), content);
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(referencePath(path), 'utf8'));
}

const template = async (name: string): Promise<Record<string, unknown>> =>
  (await readJson(`${CHAT}/template-${name}.json`)) as Record<string, unknown>;

async function writeConfig(
  model: string,
  data: Record<string, unknown>,
  more: Record<string, unknown> = {},
): Promise<string> {
  out = join(folder, `out-${runs++}`);
  const config = join(folder, 'run.json.yaml');
  const settings = {
    model: join(folder, model),
    data,
    training: {
      output_dir: out,
      num_train_epochs: 1,
      learning_rate: 1e-4,
      ...(more['training'] as object | undefined),
    },
    adapter: { r: 2, ...(more['adapter'] as object | undefined) },
  };
  await writeFile(config, JSON.stringify(settings));
  return config;
}

interface Shown {
  readonly texts: string[];
  readonly tokens: number[];
  readonly stderr: string;
}

/** The samples of `lowrank data`, brackets around what is learnt. */
async function shown(
  path: string,
  data: Record<string, unknown> = {},
  model = 'smollm',
  more: Record<string, unknown> = {},
): Promise<Shown> {
  const config = await writeConfig(model, { train: referencePath(path), ...data }, more);
  const { status, stdout, stderr } = await lowrank('data', config, '--json', '--samples', '9');
  if (status !== 0) throw new Error(stderr);
  const { train } = JSON.parse(stdout) as {
    train: { datasets: { dropped: unknown[]; samples: { text: string; tokens: number }[] }[] };
  };
  expect(train.datasets[0]?.dropped).toEqual([]);
  const samples = train.datasets[0]?.samples ?? [];
  return { texts: samples.map(({ text }) => text), tokens: samples.map(({ tokens }) => tokens), stderr };
}

const turn = (role: string, content: string): string => `<|im_start|>${role}\n${content}<|im_end|>\n`;
const answer = (content: string, end = '\n', before = ''): string =>
  `<|im_start|>assistant\n${before}⟦${content}<|im_end|>⟧${end}`;
const CALL = '<tool_call>\n{"name": "get_time", "arguments": {"city": "Oslo"}}\n</tool_call>';
const RESPONSE = turn('user', '<tool_response>\n12:00\n</tool_response>');

describeReferences(
  'conversations that went wrong',
  [CHAT, 'tokenizers/smollm/tokenizer.json', 'tokenizers/llama2/tokenizer.json'],
  () => {
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'lowrank-cases-'));
      await writeModel('smollm', 'smollm');
      await writeModel('bare', 'smollm', { chat_template: null });
      await writeModel('llama2', 'llama2');
    }, 120_000);
    afterAll(() => rm(folder, { recursive: true, force: true }));

    it('a turn with calls is learnt before a think block', { timeout: 120_000 }, async () => {
      const qwen3 = await readFile(referencePath('reference/chat-masks/templates/qwen3.jinja'), 'utf8');
      const last = RESPONSE + answer('<think>\n\n</think>\n\nNoon.', '');
      const expected = ['', '', 'Let me look.\n', '<think>\nneed a tool\n</think>\n\n'].map(
        (lead) => turn('user', 'Time in Oslo?') + answer(lead + CALL) + last,
      );
      expect((await shown(`${CHAT}/tools-before-think/a.jsonl`, { chat_template: qwen3 })).texts).toEqual(expected);
    });

    it('every turn ends with its closing token, an empty one too', { timeout: 120_000 }, async () => {
      const { texts } = await shown(`${CHAT}/phi3-multiturn/a.jsonl`, await template('eosend'));
      expect(texts).toEqual(
        ['Uno', ''].map((first) => turn('user', 'One?') + answer(first) + turn('user', 'Two?') + answer('Dos', '')),
      );
    });

    it('weight 0 and train: false are context', { timeout: 120_000 }, async () => {
      const { texts } = await shown(`${CHAT}/weight0/a.jsonl`, await template('chatml'));
      const expected =
        turn('user', 'Two plus two?') + turn('assistant', 'Five') + turn('user', 'Wrong.') + answer('Four', '');
      expect(texts).toEqual([expected, expected]);
    });

    it('arguments and tools that are JSON texts become objects', { timeout: 120_000 }, async () => {
      const tools = await template('tools');
      for (const name of ['toolargs-string', 'tools-string']) {
        const { texts, tokens } = await shown(`${CHAT}/${name}/a.jsonl`, tools);
        const tool =
          '{"type": "function", "function": {"name": "get_time", "description": "Local time", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}';
        const expected =
          turn('system', `# Tools\n\n${tool}`) +
          turn('user', 'Time in Oslo?') +
          answer(CALL) +
          RESPONSE +
          answer('Noon.', '');
        expect(texts).toEqual([expected, expected]);
        expect(tokens[0]).toBe(tokens[1]);
      }
      const { texts } = await shown(`${CHAT}/float-args/a.jsonl`, tools);
      expect(texts).toEqual([
        `${turn('user', 'Set 21 degrees')}${answer('<tool_call>\n{"name": "set_temp", "arguments": {"celsius": 21.0}}\n</tool_call>', '')}`,
      ]);
      const digits = join(folder, 'digits.jsonl');
      await writeFile(
        digits,
        (await readFile(referencePath(`${CHAT}/float-args/a.jsonl`), 'utf8')).replace('21.0', '12345678901234567890'),
      );
      const config = await writeConfig('smollm', { train: digits, ...tools });
      expect((await lowrank('data', config)).stdout).toContain('"celsius": 12345678901234567890}');
    });

    it('marks of the template are what is learnt', { timeout: 120_000 }, async () => {
      const marked = await template('gen2');
      expect((await shown(`${CHAT}/generation-tag/a.jsonl`, marked)).texts).toEqual([
        turn('user', 'Hi') + answer('Hello!') + turn('user', 'Bye') + answer('Ciao', ''),
      ]);
      expect((await shown(`${CHAT}/generation-tag/b.jsonl`, marked)).texts).toEqual([
        turn('user', 'Hi') + answer('Hello!', '', '<think>greet</think>'),
      ]);
      const inside = String(marked['chat_template']).replace(
        "{% endgeneration %}{{ '\n' }}",
        "{{ '\n' }}{% endgeneration %}",
      );
      expect(inside).not.toBe(marked['chat_template']);
      expect((await shown(`${CHAT}/generation-tag/b.jsonl`, { chat_template: inside })).texts).toEqual([
        `${turn('user', 'Hi')}<|im_start|>assistant\n<think>greet</think>⟦Hello!<|im_end|>\n⟧`,
      ]);
    });

    it('the header with a closed think block is not learnt', { timeout: 120_000 }, async () => {
      const { texts } = await shown(`${CHAT}/qwen3-think/a.jsonl`, await template('qwen3nt'));
      const closed = '<think>\n\n</think>\n\n';
      expect(texts).toEqual([
        `${turn('user', 'One plus one?')}${answer('Two')}${turn('user', 'Plus one?')}<|im_start|>assistant\n<think>⟦\nadd more\n</think>\n\nThree<|im_end|>⟧`,
        turn('user', 'One plus one?') + answer('Two') + turn('user', 'Plus one?') + answer('Three', '', closed),
        `${turn('user', 'One plus one?')}<|im_start|>assistant\n<think>⟦\nadd\n</think>\n\nTwo<|im_end|>⟧`,
        turn('user', 'One?') +
          answer('One') +
          turn('user', 'Repeat') +
          answer('One') +
          turn('user', 'Again') +
          answer('One', '', closed),
      ]);
    });

    it(
      'strip with characters keeps the indentation; line ends of a template do not matter',
      { timeout: 120_000 },
      async () => {
        const { texts } = await shown(`${CHAT}/lstrip-newline/a.jsonl`, await template('lstrip'));
        // The line break of the header and the indentation are one token.
        expect(texts.map((text) => text.replaceAll(/[⟦⟧]/g, ''))).toEqual([
          `${turn('user', 'Body of the loop?')}<|im_start|>assistant\n    total += n\n<|im_end|>`,
        ]);
        expect(texts[0]?.endsWith('    total += n\n<|im_end|>⟧')).toBe(true);
        const [crlf, lf] = await Promise.all(
          ['crlf', 'lf'].map((name) => readFile(referencePath(`${CHAT}/crlf-template/${name}.jinja`), 'utf8')),
        );
        const first = await shown(`${CHAT}/crlf-template/a.jsonl`, { chat_template: crlf });
        expect(crlf).toContain('\r\n');
        expect(first.texts).toEqual([turn('user', 'Hi') + answer('Hello', '')]);
        expect(await shown(`${CHAT}/crlf-template/a.jsonl`, { chat_template: lf })).toEqual(first);
      },
    );

    it('other forms of conversations are read', { timeout: 120_000 }, async () => {
      const chatml = await template('chatml');
      const snow = turn('user', 'What colour is snow?') + answer('White.', '');
      expect((await shown(`${CHAT}/sharegpt/a.jsonl`, chatml)).texts).toEqual([turn('system', 'Be brief.') + snow]);
      expect((await shown(`${CHAT}/sharegpt/b.jsonl`, chatml)).texts).toEqual([snow]);
      expect((await shown(`${CHAT}/conv-prompt-completion/a.jsonl`, chatml)).texts).toEqual([
        turn('user', 'Hi') + answer('Hello!', ''),
      ]);
      expect((await shown(`${CHAT}/content-parts/a.jsonl`, chatml)).texts).toEqual([
        turn('user', 'Hi there') + answer('Hello!', ''),
      ]);
    });

    it('texts that begin with BOS get one, in training, evaluation and generation', { timeout: 240_000 }, async () => {
      const note = 'note: texts begin with the BOS token <s>, which the tokenizer adds too; they get one, not two';
      for (const name of ['a', 'b']) {
        const { texts, stderr } = await shown(`${CHAT}/double-bos/${name}.jsonl`, {}, 'llama2');
        expect(texts[0]?.replaceAll(/[⟦⟧]/g, '')).toBe('<s> [INST] Name a colour [/INST] Red</s>');
        expect(stderr.split(note)).toHaveLength(2);
      }
      const config = await writeConfig(
        'llama2',
        { train: referencePath(`${CHAT}/double-bos/b.jsonl`) },
        { training: { num_train_epochs: 1 } },
      );
      const trained = await lowrank('train', config);
      expect(trained.stderr).toContain(note);
      expect(trained.status).toBe(0);
      const plain = join(folder, 'plain.jsonl');
      await writeFile(plain, '{"prompt":"[INST] Name a colour [/INST]","completion":" Red</s>"}\n');
      const model = join(folder, 'llama2');
      const evaluated = await lowrank(
        'eval',
        '--model',
        model,
        '--data',
        referencePath(`${CHAT}/double-bos/b.jsonl`),
        '--json',
      );
      expect(evaluated.stderr).toContain(note);
      expect((JSON.parse(evaluated.stdout) as { tokens: number }).tokens).toBe(
        (JSON.parse((await lowrank('eval', '--model', model, '--data', plain, '--json')).stdout) as { tokens: number })
          .tokens,
      );
      const asked = await lowrank(
        'generate',
        '--model',
        model,
        '--prompt',
        '<s>[INST] Name a colour [/INST]',
        '--max-new-tokens',
        '1',
        '--json',
      );
      expect(asked.stderr).toContain(note);
      const encodings = JSON.parse(asked.stdout) as { prompt_tokens: number };
      const once = JSON.parse(
        (await lowrank('generate', '--model', model, '--prompt', 'Name', '--max-new-tokens', '1', '--json')).stdout,
      ) as { prompt_tokens: number };
      const twice = JSON.parse(
        (await lowrank('generate', '--model', model, '--prompt', '<s>Name', '--max-new-tokens', '1', '--json')).stdout,
      ) as { prompt_tokens: number };
      expect(once.prompt_tokens).toBe(2);
      expect(twice.prompt_tokens).toBe(2);
      expect(encodings.prompt_tokens).toBeGreaterThan(5);
    });

    it('a prompt is asked with its tools and variables', { timeout: 240_000 }, async () => {
      await writeModel('tools', 'smollm', await template('tools'));
      await writeModel('qwen3nt', 'smollm', { chat_template: (await template('qwen3nt'))['chat_template'] });
      const count = async (model: string, ...args: string[]): Promise<number[]> => {
        const { status, stdout, stderr } = await lowrank(
          'generate',
          '--model',
          join(folder, model),
          ...args,
          '--max-new-tokens',
          '1',
          '--json',
        );
        if (status !== 0) throw new Error(stderr);
        return stdout
          .trim()
          .split('\n')
          .map((line) => (JSON.parse(line) as { prompt_tokens: number }).prompt_tokens);
      };
      const at = (name: string): string => referencePath(`${CHAT}/generate-tools/${name}`);
      const [[tools = 0], [bare = 0]] = [
        await count('tools', '--messages', at('with.json')),
        await count('tools', '--messages', at('without.json')),
      ];
      expect(tools).toBeGreaterThan(bare + 20);
      expect(await count('tools', '--requests', at('req.jsonl'))).toEqual([tools, bare]);
      const { messages } = (await readJson(`${CHAT}/generate-tools/without.json`)) as { messages: unknown };
      const requests = join(folder, 'requests.jsonl');
      await writeFile(
        requests,
        [{}, { enable_thinking: true }, { enable_thinking: false }]
          .map((variables) => `${JSON.stringify({ messages, chat_template_kwargs: variables })}\n`)
          .join(''),
      );
      const [plain = 0, open = 0, closed = 0] = await count('qwen3nt', '--requests', requests);
      expect(open).toBe(plain);
      expect(closed).toBeGreaterThan(plain);
      const one = join(folder, 'one.json');
      await writeFile(one, JSON.stringify({ messages, chat_template_kwargs: { enable_thinking: false } }));
      expect(await count('qwen3nt', '--messages', one)).toEqual([closed]);
    });

    it('a row is evaluated with its variables, and those of the training', { timeout: 240_000 }, async () => {
      await writeModel('thinks', 'smollm', { chat_template: (await template('qwen3nt'))['chat_template'] });
      const row = {
        messages: [
          { role: 'user', content: 'One?' },
          { role: 'assistant', content: 'Two' },
        ],
      };
      const [own, none] = [join(folder, 'own.jsonl'), join(folder, 'none.jsonl')];
      await writeFile(own, JSON.stringify({ ...row, chat_template_kwargs: { enable_thinking: false } }));
      await writeFile(none, JSON.stringify(row));
      const tokens = async (...args: string[]): Promise<number> => {
        const { status, stdout, stderr } = await lowrank('eval', ...args, '--json');
        if (status !== 0) throw new Error(stderr);
        return (JSON.parse(stdout) as { tokens: number }).tokens;
      };
      const model = join(folder, 'thinks');
      const closed = await tokens('--model', model, '--data', own);
      expect(await tokens('--model', model, '--data', none)).toBeGreaterThan(closed);
      expect(closed).toBe(2);
      const config = await writeConfig('thinks', { train: none, chat_template_kwargs: { enable_thinking: false } });
      expect(await lowrank('train', config)).toMatchObject({ status: 0 });
      expect(await tokens(out, '--data', none)).toBe(closed);
    });

    it('a base without chat template keeps that of the training', { timeout: 240_000 }, async () => {
      const at = (name: string): string => referencePath(`${CHAT}/custom-template-generate/${name}`);
      const config = await writeConfig('bare', {
        train: at('a.jsonl'),
        chat_template: await readFile(at('t.jinja'), 'utf8'),
      });
      expect(await lowrank('train', config)).toMatchObject({ status: 0 });
      const generated = await lowrank('generate', out, '--messages', at('m.json'), '--max-new-tokens', '1', '--json');
      expect(generated.status).toBe(0);
      // <|im_start|>, user, a line break, Hi, <|im_end|>, a line break, and the header of an answer, whose name is two
      // tokens
      expect((JSON.parse(generated.stdout) as { prompt_tokens: number }).prompt_tokens).toBe(10);
      const evaluated = await lowrank('eval', out, '--data', at('a.jsonl'), '--json');
      expect(evaluated.status, evaluated.stderr).toBe(0);
      const record = JSON.parse(await readFile(join(out, 'training_record.json'), 'utf8')) as {
        data: { part: string; supervised_tokens: number; rows: number }[];
      };
      const trained = record.data.find(({ part }) => part === 'train');
      const { loss, tokens } = JSON.parse(evaluated.stdout) as { loss: number; tokens: number };
      expect(tokens).toBe(trained?.supervised_tokens);
      const verified = await lowrank('verify', out, '--json');
      expect(verified.status, verified.stderr).toBe(0);
      const merged = join(folder, 'bare-merged');
      const exported = await lowrank('export', out, '--format', 'merged', '-o', merged);
      expect(exported.status, exported.stderr).toBe(0);
      expect(await readFile(join(merged, 'chat_template.jinja'), 'utf8')).toBe(await readFile(at('t.jinja'), 'utf8'));
      // By itself, as a model whose template is its own.
      const again = await lowrank('eval', '--model', merged, '--data', at('a.jsonl'), '--json');
      expect(again.status, again.stderr).toBe(0);
      expect(JSON.parse(again.stdout)).toMatchObject({ tokens, loss: expect.closeTo(loss, 5) as number });
      const asked = await lowrank('generate', merged, '--messages', at('m.json'), '--max-new-tokens', '1', '--json');
      expect(JSON.parse(asked.stdout)).toMatchObject({ prompt_tokens: 10 });
      const gguf = await lowrank('export', out, '--format', 'gguf', '-o', join(folder, 'bare-gguf'));
      expect(gguf.status, gguf.stderr).toBe(0);
      const lines = await readFile(join(folder, 'bare-gguf/Modelfile'), 'utf8');
      expect(lines).toContain('<|im_start|>user\n{{ .Prompt }}<|im_end|>\n');
      expect(lines).toContain('PARAMETER stop "<|im_end|>"');
    });

    it('added tokens are found in a row, and trained', { timeout: 240_000 }, async () => {
      const more = { adapter: { added_tokens: ['<tool>', '</tool>'] } };
      const { texts, tokens } = await shown(`${CHAT}/added/a.jsonl`, {}, 'llama2', more);
      // The blank is how this tokenizer writes the word that begins behind a token.
      expect(texts).toEqual(['<s> Call it:⟦<tool> now</tool></s>⟧']);
      expect(tokens[0]).toBe(8);
      const config = await writeConfig('llama2', { train: referencePath(`${CHAT}/added/a.jsonl`) }, more);
      expect(await lowrank('train', config)).toMatchObject({ status: 0 });
    });

    it('add_bos_token: false beside the class of Llama is no BOS', { timeout: 120_000 }, async () => {
      await writeModel('no-bos', 'llama2', { add_bos_token: false });
      const [without, standard] = [
        await shown('cases/files/add-bos-flags/a.jsonl', {}, 'no-bos'),
        await shown('cases/files/add-bos-flags/a.jsonl', {}, 'llama2'),
      ];
      expect(without.texts).toEqual(['Name a colour:⟦ Red</s>⟧']);
      expect(standard.texts).toEqual(['<s> Name a colour:⟦ Red</s>⟧']);
      expect(without.tokens[0]).toBe((standard.tokens[0] ?? 0) - 1);
    });
  },
);
