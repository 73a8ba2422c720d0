import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CHAT_TEMPLATE_NAMES, chatTemplateSource, isChatTemplate } from '../../src/tokenizer/chat-templates.js';
import { loadDataset } from '../../src/data/dataset.js';
import { SHARED } from '../support/goldens.js';
import { smallTokenizer } from './fixture.js';

const SPECIAL = { bos_token: '<s>', eos_token: '<|endoftext|>' };
const CONVERSATION = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Where is the otter? ' },
  { role: 'assistant', content: 'In the river.' },
  { role: 'user', content: 'And now?' },
  { role: 'assistant', content: '' },
];

/** What the published templates write, by hand. */
const WRITTEN: Readonly<Record<string, string>> = {
  chatml:
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhere is the otter? <|im_end|>\n<|im_start|>assistant\n⟦In the river.<|im_end|>⟧\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n⟦<|im_end|>⟧\n',
  llama3:
    '<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhere is the otter?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦In the river.<|eot_id|>⟧' +
    '<|start_header_id|>user<|end_header_id|>\n\nAnd now?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦<|eot_id|>⟧',
  gemma:
    '<s><start_of_turn>user\nBe brief.\n\nWhere is the otter?<end_of_turn>\n<start_of_turn>model\n⟦In the river.<end_of_turn>⟧\n<start_of_turn>user\nAnd now?<end_of_turn>\n<start_of_turn>model\n⟦<end_of_turn>⟧\n',
  phi3: '<|system|>\nBe brief.<|end|>\n<|user|>\nWhere is the otter? <|end|>\n<|assistant|>\n⟦In the river.<|end|>⟧\n<|user|>\nAnd now?<|end|>\n<|assistant|>\n⟦<|end|>⟧\n<|endoftext|>',
  zephyr:
    '<|system|>\nBe brief.<|endoftext|>\n<|user|>\nWhere is the otter? <|endoftext|>\n<|assistant|>\n⟦In the river.<|endoftext|>⟧\n<|user|>\nAnd now?<|endoftext|>\n<|assistant|>\n⟦<|endoftext|>⟧\n',
  mistral:
    '<s> [INST] Be brief.\n\nWhere is the otter?  [/INST]⟦ In the river.<|endoftext|>⟧ [INST] And now? [/INST]⟦ <|endoftext|>⟧',
  alpaca:
    '<s>Be brief.\n\n### Instruction:\nWhere is the otter? \n\n### Response:\n⟦In the river.<|endoftext|>⟧\n\n### Instruction:\nAnd now?\n\n### Response:\n⟦<|endoftext|>⟧\n\n',
};

describe('named chat templates', () => {
  it.each(CHAT_TEMPLATE_NAMES)('%s writes what the published one writes', async (name) => {
    const tokenizer = await smallTokenizer(SPECIAL);
    const written = (WRITTEN[name] as string).replace(/[⟦⟧]/g, '');
    expect(tokenizer.applyChatTemplate(CONVERSATION, { template: name })).toBe(written);
    // The header of an answer begins what follows.
    const asked = tokenizer.applyChatTemplate(CONVERSATION.slice(0, 4), { template: name, addGenerationPrompt: true });
    expect(written.startsWith(asked)).toBe(true);
  });

  it.each(CHAT_TEMPLATE_NAMES)('%s marks what is learnt', async (name) => {
    const { text, generation = [] } = (await smallTokenizer(SPECIAL)).traceChatTemplate(CONVERSATION, {
      template: name,
    });
    const marked = [...generation]
      .reverse()
      .reduce(
        (shown, { start, end }) => `${shown.slice(0, start)}⟦${shown.slice(start, end)}⟧${shown.slice(end)}`,
        text,
      );
    expect(marked).toBe(WRITTEN[name]);
  });

  it('leaves other texts as they are', () => {
    expect(chatTemplateSource('{{ messages }}')).toBe('{{ messages }}');
    expect(['chatml', '{% if x %}', 'chatlm', 'toString'].map(isChatTemplate)).toEqual([true, true, false, false]);
  });

  it('names them where the name is another', async () => {
    const loading = loadDataset({
      source: { name: 'rows', rows: [{ messages: CONVERSATION }] },
      tokenizer: await smallTokenizer(),
      options: { chat_template: 'chatlm' },
    });
    await expect(loading).rejects.toThrow(
      'chat_template "chatlm" is neither a name (chatml, llama3, gemma, phi3, zephyr, mistral, alpaca) nor Jinja',
    );
  });
});

const TEMPLATES = `${SHARED}/reference/chat-masks/templates`;

describe.skipIf(!existsSync(TEMPLATES))('published templates (needs ../shared)', () => {
  it.each([
    ['llama3', 'llama3'],
    ['phi3', 'phi3'],
    ['gemma', 'gemma'],
    ['gemma', 'gemma3'],
  ])('%s renders as %s.jinja', async (name, file) => {
    const tokenizer = await smallTokenizer(SPECIAL);
    const published = readFileSync(`${TEMPLATES}/${file}.jinja`, 'utf8');
    const conversations = [
      CONVERSATION,
      CONVERSATION.slice(1),
      CONVERSATION.slice(1, 3),
      [
        { role: 'user', content: '\n  a [b] {{ c }}\n' },
        { role: 'assistant', content: ' \n\td ' },
      ],
    ];
    for (const messages of file === 'gemma' ? conversations.slice(1) : conversations) {
      for (const addGenerationPrompt of [false, true]) {
        const turns = addGenerationPrompt ? messages.slice(0, -1) : messages;
        expect(tokenizer.applyChatTemplate(turns, { template: name, addGenerationPrompt })).toBe(
          tokenizer.applyChatTemplate(turns, { template: published, addGenerationPrompt }),
        );
      }
    }
  });
});
