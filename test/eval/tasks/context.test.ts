import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { DataSource } from '../../../src/data/row.js';
import { completePrompts } from '../../../src/eval/complete.js';
import { likelihoods } from '../../../src/eval/likelihood.js';
import { cutPrompt, textStart } from '../../../src/eval/prompt.js';
import { runTask, type TaskResult } from '../../../src/eval/tasks/run.js';
import { parseTasks } from '../../../src/eval/tasks/schema.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel } from '../../../src/model/load.js';
import { loadTokenizer, type Tokenizer } from '../../../src/tokenizer/tokenizer.js';
import { describeBackends } from '../../support/backends.js';
import { textSource } from '../../support/data.js';

const BASE = 'configs/quickstart/base';
const CONTEXT = 24;
const QUESTION =
  'The little dog ran to the park and saw a big red ball. It wanted to play all day long with it, and then';
const read = (file: string): string => readFileSync(join(BASE, file), 'utf8');

interface Model {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
}

/** The base model with a context of so many tokens. */
async function openBase(
  tokenizer: Readonly<Record<string, string>> = {
    'tokenizer.json': read('tokenizer.json'),
    'tokenizer_config.json': read('tokenizer_config.json'),
  },
  context = CONTEXT,
): Promise<Model> {
  const config = JSON.stringify({ ...(JSON.parse(read('config.json')) as object), max_position_embeddings: context });
  const folder = memoryDirectory('base', {
    'config.json': config,
    'model.safetensors': new Uint8Array(readFileSync(join(BASE, 'model.safetensors'))),
    ...tokenizer,
  });
  return { decoder: await loadModel(folder), tokenizer: (await loadTokenizer(folder)) as Tokenizer };
}

/** One token a word, of the kind that writes a blank before the first one and drops it when it reads. */
function wordTokenizer(): Record<string, string> {
  const vocab = ['<unk>', '▁The', '▁cat', '▁sat', '▁down', '▁é'].map((word) => [word, -1]);
  const metaspace = { type: 'Metaspace', replacement: '▁', add_prefix_space: true, prepend_scheme: 'always' };
  const json = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { ...metaspace, split: true },
    post_processor: null,
    decoder: metaspace,
    model: { type: 'Unigram', vocab, unk_id: 0 },
  };
  return { 'tokenizer.json': JSON.stringify(json), 'tokenizer_config.json': '{}' };
}

function run(fields: object, rows: readonly unknown[], model: Model): Promise<TaskResult> {
  return runOn(fields, { name: 'rows', rows }, model);
}

function runOn(fields: object, data: DataSource, model: Model): Promise<TaskResult> {
  const [task] = parseTasks(JSON.stringify({ tasks: [{ name: 'task', data: 'x.jsonl', ...fields }] }), 'tasks.yaml');
  return runTask(task as NonNullable<typeof task>, { data: [data] }, { ...model, resamples: 0 });
}

/** Bytes that bits_per_byte was taken over. */
function bytesOf({ metrics }: TaskResult, tokens: number): number {
  return ((metrics['loss']?.value ?? NaN) * tokens) / Math.LN2 / (metrics['bits_per_byte']?.value ?? NaN);
}

describeBackends('a context that is too small', ['wasm'], () => {
  it('keeps the end of a prompt, and BOS', () => {
    expect(cutPrompt([1, 2, 3, 4, 5], 3, { bosTokenId: undefined })).toEqual([3, 4, 5]);
    expect(cutPrompt([1, 2, 3, 4, 5], 3, { bosTokenId: 1 })).toEqual([1, 4, 5]);
    expect(cutPrompt([1, 2, 3, 4, 5], 1, { bosTokenId: 1 })).toEqual([5]);
    expect(cutPrompt([1, 2, 3], 3, { bosTokenId: 1 })).toEqual([1, 2, 3]);
    expect([textStart({ bosTokenId: 4, eosTokenId: 2 }), textStart({ eosTokenId: 2 }), textStart({})]).toEqual([
      [4],
      [2],
      [],
    ]);
  });

  it('cuts what is to be continued so that the answer fits', async () => {
    const model = await openBase();
    const generate = {
      type: 'generate',
      prompt: '{{ q }}',
      references: 'a',
      generation: { max_new_tokens: 6 },
      metrics: ['exact_match'],
    };
    const result = await run(
      generate,
      [
        { q: QUESTION, a: 'x' },
        { q: 'The cat', a: 'x' },
      ],
      model,
    );
    expect(result.truncated).toBe(1);
    const ids = model.tokenizer.encode(QUESTION);
    expect(ids.length).toBeGreaterThan(CONTEXT);
    const [wanted] = await completePrompts(model.decoder, model.tokenizer, [{ tokens: ids.slice(6 - CONTEXT) }], {
      maxNewTokens: 6,
    });
    expect(result.samples[0]).toMatchObject({ prompt: QUESTION, answer: wanted });
    await expect(
      run({ ...generate, generation: { max_new_tokens: CONTEXT } }, [{ q: 'a', a: 'x' }], model),
    ).rejects.toThrow(
      `task: generation.max_new_tokens: ${CONTEXT} leave no room for a prompt in the model's context of ${CONTEXT}`,
    );
    await expect(completePrompts(model.decoder, model.tokenizer, [QUESTION])).rejects.toThrow(
      `the prompt has ${ids.length} tokens; the model's context is ${CONTEXT}`,
    );
    model.decoder.dispose();
  });

  it('cuts what choices follow on, each as much as it needs', async () => {
    const model = await openBase();
    const { decoder, tokenizer } = model;
    const choice = { type: 'multiple_choice', prompt: '{{ q }}', choices: 'c', answer: 'a', metrics: ['mc2'] };
    const choices = ['went', 'went home to sleep'];
    const result = await run(
      choice,
      [
        { q: QUESTION, c: choices, a: 0 },
        { q: 'The cat', c: ['a', 'b'], a: 0 },
      ],
      model,
    );
    expect(result.truncated).toBe(1);
    const long = await run(choice, [{ q: QUESTION, c: choices, a: 0 }], model);
    const rated = await likelihoods(
      decoder,
      choices.map((text) => {
        const given = tokenizer.encode(QUESTION).length;
        const ids = tokenizer.encode(`${QUESTION} ${text}`);
        return { ids: ids.slice(-CONTEXT), promptLength: CONTEXT - (ids.length - given) };
      }),
    );
    const [right, wrong] = rated.map(({ logLikelihood }) => Math.exp(logLikelihood));
    expect(long.metrics['mc2']?.value).toBeCloseTo((right as number) / ((right as number) + (wrong as number)), 4);
    await expect(run(choice, [{ q: 'a', c: ['a', QUESTION], a: 0 }], model)).rejects.toThrow(
      /^task: item 1: a choice of \d+ tokens; the model's context is 24$/,
    );
    decoder.dispose();
  });

  it('cuts texts whose loss is asked for', async () => {
    const model = await openBase();
    const loss = { type: 'loss', metrics: ['loss', 'bits_per_byte'] };
    const result = await run(loss, [{ text: QUESTION }, { text: 'The cat' }], model);
    expect(result).toMatchObject({ items: 2, truncated: 1 });
    // Of the text its own bytes up to the cut, without the first token, which nothing predicts.
    const alone = await run(loss, [{ text: QUESTION }], model);
    const ids = model.tokenizer.encode(QUESTION);
    const [start, end] = [model.tokenizer.decode(ids.slice(0, 1)), model.tokenizer.decode(ids.slice(0, CONTEXT))];
    expect(QUESTION.startsWith(end)).toBe(true);
    expect(bytesOf(alone, CONTEXT - 1)).toBeCloseTo(end.length - start.length, 6);
    model.decoder.dispose();
  });
});

describeBackends('the edges of texts', ['wasm'], () => {
  it('begin an empty prompt with BOS', async () => {
    const model = await openBase();
    const { decoder, tokenizer } = model;
    const choices = ['The', 'A dog'];
    const result = await run(
      {
        type: 'multiple_choice',
        prompt: '{{ q }}',
        choice_template: '{{ choice }}',
        choices: 'c',
        answer: 'a',
        metrics: ['mc2'],
      },
      [{ q: '', c: choices, a: 0 }],
      model,
    );
    const rated = await likelihoods(
      decoder,
      choices.map((text) => ({ ids: [tokenizer.bosTokenId as number, ...tokenizer.encode(text)], promptLength: 1 })),
    );
    const [right, wrong] = rated.map(({ logLikelihood }) => Math.exp(logLikelihood));
    expect(result.metrics['mc2']?.value).toBeCloseTo((right as number) / ((right as number) + (wrong as number)), 5);
    const generate = {
      type: 'generate',
      prompt: '{{ q }}',
      references: 'a',
      generation: { max_new_tokens: 4 },
      metrics: ['exact_match'],
    };
    const [wanted] = await completePrompts(decoder, tokenizer, [{ tokens: [tokenizer.bosTokenId as number] }], {
      maxNewTokens: 4,
    });
    expect((await run(generate, [{ q: '', a: 'x' }], model)).samples[0]?.answer).toBe(wanted);
    const loss = await run(
      { type: 'loss', prompt: '{{ q }}', completion: '{{ a }}', metrics: ['loss'] },
      [{ q: '', a: 'The' }],
      model,
    );
    expect(loss.metrics['loss']?.value).toBeCloseTo(-(rated[0]?.logLikelihood ?? NaN) / (rated[0]?.tokens ?? NaN), 5);
    decoder.dispose();
  });

  it('count with all bytes of the learnt text', async () => {
    const words = await openBase(wordTokenizer());
    const loss = { type: 'loss', prompt: '{{ q }}', completion: '{{ a }}', metrics: ['loss', 'bits_per_byte'] };
    expect(words.tokenizer.encode('The cat sat')).toEqual([1, 2, 3]);
    expect(words.tokenizer.decode([2, 3])).toBe('cat sat');
    expect(bytesOf(await run(loss, [{ q: 'The', a: ' cat sat' }], words), 2)).toBeCloseTo(8, 6);
    expect(bytesOf(await run(loss, [{ q: 'The', a: ' é' }], words), 1)).toBeCloseTo(3, 6);
    // Cut behind "cat".
    expect(bytesOf(await run({ ...loss, max_length: 2 }, [{ q: 'The', a: ' cat sat down' }], words), 1)).toBeCloseTo(
      4,
      6,
    );
    // Nothing predicts "The".
    expect(
      bytesOf(await run({ type: 'loss', metrics: ['loss', 'bits_per_byte'] }, [{ text: 'The cat sat' }], words), 2),
    ).toBeCloseTo(8, 6);
    words.decoder.dispose();
    // é is two tokens here, cut between them: neither half is a character.
    const bytes = await openBase();
    const whole = bytes.tokenizer.encode('The é');
    expect(bytes.tokenizer.decode(whole.slice(0, -1))).toBe('The \ufffd');
    expect(
      bytesOf(
        await run({ ...loss, max_length: whole.length - 1 }, [{ q: 'The', a: ' é' }], bytes),
        whole.length - 1 - bytes.tokenizer.encode('The').length,
      ),
    ).toBeCloseTo(1, 6);
    bytes.decoder.dispose();
  });

  it('are none where the data has no rows', async () => {
    const model = await openBase();
    for (const fields of [
      { type: 'generate', prompt: '{{ q }}', references: 'a', metrics: ['exact_match'] },
      { type: 'multiple_choice', prompt: '{{ q }}', choices: 'c', metrics: ['accuracy'] },
      { type: 'loss', metrics: ['loss'] },
    ])
      await expect(runOn(fields, textSource('x.csv', 'q,a,c,text\n'), model)).rejects.toThrow(/^task: data: no rows$/);
    model.decoder.dispose();
  });
});
