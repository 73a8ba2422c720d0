import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { encodeRow, IGNORED } from '../../src/data/encode.js';
import { planRows } from '../../src/data/plan.js';
import { renderRow } from '../../src/data/render.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { Random } from '../../src/random.js';
import type { ChatMessage } from '../../src/tokenizer/chat-template.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { useRecordedDate } from '../support/recorded-date.js';
import { describeReferences, referencePath } from '../support/references.js';

const FOLDER = 'reference/chat-masks';

interface Case {
  readonly template: string;
  readonly tokenizer: string;
  readonly conversation: number;
  readonly error?: string;
  readonly input_ids?: readonly number[];
  readonly mask: readonly number[];
  readonly published_renders_the_same?: boolean;
}

interface Conversation extends Record<string, unknown> {
  readonly messages: readonly ChatMessage[];
  readonly tools?: unknown;
}

const TOKENIZERS = {
  smollm: ['tokenizer.json', { bos_token: '<|im_start|>', eos_token: '<|im_end|>' }],
  'qwen2.5': ['tokenizer.rebuilt.json', { bos_token: '<|endoftext|>', eos_token: '<|im_end|>' }],
} as const;

/**
 * How a template closes an assistant turn. GLM's has no token for it: the header of the next turn ends it. Gemma's
 * and Phi-3's are no tokens of these two tokenizers, so the turn reaches to the end of what is written for it; Phi-3's
 * template writes the EOS token behind the last turn besides.
 */
const CLOSINGS: Readonly<Record<string, RegExp>> = {
  cohere: /<\|END_OF_TURN_TOKEN\|>/g,
  cohere2: /<\|END_OF_TURN_TOKEN\|>/g,
  deepseekv3: /<｜end▁of▁sentence｜>/g,
  gemma: /<end_of_turn>\n/g,
  gemma3: /<end_of_turn>\n/g,
  glm4moe: /(?=<\|(?:user|observation)\|>)|$/g,
  gptoss: /<\|(?:end|call|return)\|>/g,
  llama3: /<\|eot_id\|>/g,
  phi3: /<\|end\|>\n(?:<\|im_end\|>)?/g,
  phi3_5: /<\|end\|>\n(?:<\|im_end\|>)?/g,
};
const CHATML_CLOSING = /<\|im_end\|>/g;

/**
 * The header of a turn where the generation prompt is not what the conversation has in its place: it opens a think block
 * (DeepSeek, Qwen 3.5 and 3.6) that earlier or other turns do not have, or what came before is written otherwise once
 * the conversation goes on (the reasoning of gpt-oss and Qwen). What a turn shares with the prompt is not learnt: the
 * opening `<think>` of a turn that reasons, where the prompt has an empty block.
 */
const HEADERS: Readonly<Record<string, string>> = {
  deepseekv3: '<｜Assistant｜>',
  gptoss: '<|start|>assistant',
  qwen3_5_nothink: '<|im_start|>assistant\n',
  qwen3_5_think: '<|im_start|>assistant\n',
  qwen3_6: '<|im_start|>assistant\n',
};

/**
 * What the marks of the training templates cover besides the turns of the published ones, where both write the same
 * text: the header of the answer, the line break behind the closing token, and the think block that the generation
 * prompt opens. A model that is asked with the generation prompt writes none of it. A token of these tokenizers may
 * hold the end of the question or of a header besides.
 */
const MARKED_BESIDES: Readonly<Record<string, RegExp>> = {
  deepseekv3: /^[?.]<｜Assistant｜>?$/,
  gptoss: /^><\|start\|>assistant$/,
  lfm2: /^\n$/,
  qwen2_5: /^\n$/,
  qwen3: /^\n$/,
  qwen3_5_nothink: /^(?:\n|<think>?|<think>\n\n<\/think>\n\n)$/,
  qwen3_5_think: /^(?:\n|<think|<think>\n)$/,
  qwen3_6: /^(?:\n|<think|<think>\n)$/,
  qwen3_instruct_2507: /^\n$/,
};

describeReferences('published chat templates, without marks', [FOLDER, 'tokenizers'], () => {
  let masks: { readonly conversations: readonly Conversation[]; readonly cases: readonly Case[] };
  const tokenizers: Record<string, Tokenizer> = {};

  beforeAll(async () => {
    masks = JSON.parse(readFileSync(referencePath(`${FOLDER}/masks.json`), 'utf8')) as typeof masks;
    for (const [name, [file, settings]] of Object.entries(TOKENIZERS)) {
      const files = {
        'tokenizer.json': readFileSync(referencePath(`tokenizers/${name}/${file}`), 'utf8'),
        'tokenizer_config.json': JSON.stringify(settings),
      };
      tokenizers[name] = (await loadTokenizer(memoryDirectory(name, files))) as Tokenizer;
    }
  }, 120_000);

  afterEach(() => vi.useRealTimers());

  interface Encoded {
    readonly text: string;
    /** Of the text, without an end token that was added behind it. */
    readonly ids: readonly number[];
    readonly learnt: readonly boolean[];
  }

  const templateOf = ({ template }: Case): string =>
    readFileSync(referencePath(`${FOLDER}/templates/${template}.jinja`), 'utf8');
  const rowOf = ({ conversation }: Case): Conversation => masks.conversations[conversation] as Conversation;
  const tokenizerOf = ({ tokenizer }: Case): Tokenizer => tokenizers[tokenizer] as Tokenizer;
  const nameOf = ({ template, tokenizer, conversation }: Case): string =>
    `${template}, ${tokenizer}, conversation ${conversation}`;

  function encode(entry: Case): Encoded | undefined {
    const [row, tokenizer, options] = [rowOf(entry), tokenizerOf(entry), { chat_template: templateOf(entry) }];
    useRecordedDate(tokenizer.decode(entry.input_ids ?? []));
    const plan = planRows(options, row, 'row 1');
    const outcome = renderRow(row, { plan, options, tokenizer, draw: new Random(0, '') });
    if (!('rendered' in outcome)) return undefined;
    const { text } = outcome.rendered;
    const { labels } = encodeRow(outcome.rendered, tokenizer, { trainOn: 'completion' });
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    return { text, ids, learnt: ids.map((_, i) => i < labels.length && labels[i] !== IGNORED) };
  }

  /** Behind what the generation prompt renders, or behind the header where this is not what the conversation has. */
  function answerStart(entry: Case, text: string, index: number): number {
    const { messages, tools } = rowOf(entry);
    const prompt = tokenizerOf(entry).applyChatTemplate(messages.slice(0, index), {
      template: templateOf(entry),
      addGenerationPrompt: true,
      variables: tools === undefined ? {} : { tools },
    });
    if (text.startsWith(prompt)) return prompt.length;
    const header = HEADERS[entry.template];
    if (header === undefined) throw new Error(`${nameOf(entry)}: the prompt of message ${index} is no prefix`);
    // DeepSeek writes no header behind the answers of tools.
    const headed = (i: number): boolean =>
      messages[i]?.role === 'assistant' && (entry.template !== 'deepseekv3' || messages[i - 1]?.role !== 'tool');
    let start = 0;
    for (let i = 0; i <= index; i++) if (headed(i)) start = text.indexOf(header, start) + header.length;
    const opened = '<think>';
    return prompt.includes(opened, prompt.length - 30) && text.startsWith(opened, start)
      ? start + opened.length
      : start;
  }

  it('learn every turn from behind the generation prompt to its closing token', { timeout: 300_000 }, () => {
    const wrong: string[] = [];
    let compared = 0;
    for (const entry of masks.cases) {
      const encoded = encode(entry);
      // The training templates of these refuse what the published ones refuse.
      if ((encoded === undefined) !== (entry.error !== undefined) && entry.error === undefined)
        wrong.push(`${nameOf(entry)}: refused`);
      if (encoded === undefined) continue;
      const { text, ids, learnt } = encoded;
      const { tokenAt } = tokenizerOf(entry).encodePlaced(text, { addSpecialTokens: false });
      const expected = ids.map(() => false);
      rowOf(entry).messages.forEach(({ role }, index) => {
        if (role !== 'assistant') return;
        const start = answerStart(entry, text, index);
        const closing = new RegExp(CLOSINGS[entry.template] ?? CHATML_CLOSING);
        closing.lastIndex = start;
        const found = closing.exec(text);
        const end = found === null ? text.length : found.index + found[0].length;
        expected.fill(true, tokenAt(start) ?? ids.length, (tokenAt(end - 1) ?? ids.length) + 1);
      });
      if (learnt.join() !== expected.join()) wrong.push(nameOf(entry));
      compared++;
    }
    expect(wrong).toEqual([]);
    expect(compared).toBe(254);
  });

  it(
    "learn what is marked where they write the same text, but for headers and what follows a turn's end",
    {
      timeout: 300_000,
    },
    () => {
      const wrong: string[] = [];
      const besides = new Set<string>();
      let compared = 0;
      for (const entry of masks.cases.filter((one) => one.published_renders_the_same === true)) {
        const { ids, learnt } = encode(entry) as Encoded;
        if (ids.join() !== entry.input_ids?.join()) wrong.push(`${nameOf(entry)}: other tokens`);
        if (entry.mask.some((mark, i) => mark === 0 && learnt[i] === true))
          wrong.push(`${nameOf(entry)}: learns more than is marked`);
        let run: number[] = [];
        ids.forEach((id, i) => {
          if (entry.mask[i] === 1 && learnt[i] !== true) run.push(id);
          if (run.length === 0 || (entry.mask[i + 1] === 1 && learnt[i + 1] !== true)) return;
          const text = tokenizerOf(entry).decode(run);
          run = [];
          besides.add(entry.template);
          if (MARKED_BESIDES[entry.template]?.test(text) !== true)
            wrong.push(`${nameOf(entry)}: does not learn ${JSON.stringify(text)}`);
        });
        compared++;
      }
      expect(wrong).toEqual([]);
      expect(compared).toBeGreaterThan(190);
      expect([...besides].sort()).toEqual(Object.keys(MARKED_BESIDES).sort());
    },
  );
});
