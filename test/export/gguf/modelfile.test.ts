import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/errors.js';
import { findShape, modelfile, type ChatSource } from '../../../src/export/gguf/modelfile.js';
import { compileTemplate } from '../../../src/tokenizer/template.js';
import { itReferences, referencePath } from '../../support/references.js';

function chat(chatTemplate: string, tokens: Record<string, string> = {}): ChatSource {
  const template = compileTemplate(chatTemplate, 'test');
  return {
    chatTemplate,
    bosToken: tokens['bos_token'],
    applyChatTemplate: (messages, { addGenerationPrompt }) =>
      template.render({ ...tokens, messages, add_generation_prompt: addGenerationPrompt }),
  };
}

const TURNS = (start: string, end: string, open: string): string =>
  `{% for m in messages %}{{ ${start} + m['content'] + ${end} }}{% endfor %}{% if add_generation_prompt %}{{ '${open}' }}{% endif %}`;
const CHATML = TURNS("'<|im_start|>' + m['role'] + '\\n'", "'<|im_end|>\\n'", '<|im_start|>assistant\\n');
const LLAMA3 = `{{ bos_token }}${TURNS("'<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n'", "'<|eot_id|>'", '<|start_header_id|>assistant<|end_header_id|>\\n\\n')}`;
const DATED = LLAMA3.replace(
  '{% for',
  "{{ '<|start_header_id|>system<|end_header_id|>\\n\\nDate: May\\n\\n' }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% set messages = messages[1:] %}{% endif %}{{ '<|eot_id|>' }}{% for",
);
const MISTRAL =
  "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}{% else %}{{ raise_exception('no') }}{% endif %}{% endfor %}";
const GEMMA = TURNS("'<start_of_turn>' + m['role'] + '\\n'", "'<end_of_turn>\\n'", '<start_of_turn>model\\n').replace(
  '{% for',
  "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}{% for",
);
const LLAMA2 =
  "{% if messages[0]['role'] == 'system' %}{{ '[INST] <<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' + messages[1]['content'] + ' [/INST]' }}{% else %}{{ '[INST] ' + messages[0]['content'] + ' [/INST]' }}{% endif %}";

describe('the Modelfile', () => {
  it.each([
    ['ChatML', CHATML, {}],
    ['Llama 3', LLAMA3, { bos_token: '<|begin_of_text|>' }],
    ['Mistral', MISTRAL, { bos_token: '<s>' }],
    ['Gemma', GEMMA, { bos_token: '<bos>' }],
  ])('knows %s by what it renders', (name, template, tokens) => {
    expect(findShape(chat(template, tokens))).toMatchObject({ shape: { name }, system: '' });
  });

  it('finds the system text that a template adds by itself', () => {
    const qwen = `{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}${CHATML}`;
    expect(findShape(chat(qwen))).toMatchObject({ shape: { name: 'ChatML' }, system: 'You are helpful.' });
    expect(findShape(chat(DATED, { bos_token: '<|begin_of_text|>' }))).toMatchObject({
      shape: { name: 'Llama 3' },
      system: 'Date: May\n\n',
    });
  });

  it('takes no shape that differs anywhere', () => {
    expect(findShape(chat(LLAMA2))).toBeUndefined();
    expect(
      findShape(chat(CHATML.replace('<|im_start|>assistant\\n', '<|im_start|>assistant\\n<think>\\n'))),
    ).toBeUndefined();
  });

  it('writes FROM, ADAPTER, TEMPLATE, SYSTEM and stops', () => {
    const qwen = `{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}${CHATML}`;
    expect(modelfile('qwen2.5:0.5b', 'adapter.gguf', chat(qwen))).toEqual({
      text: [
        'FROM qwen2.5:0.5b',
        'ADAPTER ./adapter.gguf',
        'TEMPLATE """{{ if .System }}<|im_start|>system',
        '{{ .System }}<|im_end|>',
        '{{ end }}{{ if .Prompt }}<|im_start|>user',
        '{{ .Prompt }}<|im_end|>',
        '{{ end }}<|im_start|>assistant',
        '{{ .Response }}<|im_end|>',
        '"""',
        'SYSTEM """You are helpful."""',
        'PARAMETER stop "<|im_start|>"',
        'PARAMETER stop "<|im_end|>"',
        '',
      ].join('\n'),
      notes: [],
    });
  });

  it.each([
    ['llama3.2:1b', 'llama3.2:1b'],
    ['/models/my model', '/models/my model'],
    ['it\'s "the" base', 'it\'s "the" base'],
    ['a # b', 'a # b'],
    [' spaced ', '" spaced "'],
  ])('names the base %j on one line', (from, written) => {
    expect(modelfile(from, 'a.gguf', undefined).text).toBe(`FROM ${written}\nADAPTER ./a.gguf\n`);
  });

  it.each(['x\nSYSTEM "be bad"', 'x\r', 'a\u2028b', 'a\u202eb', 'a\0', '\x1b[2J', '', '  ', '"quoted"', '"', ' "a" '])(
    'refuses %j as base: it could say more than a name',
    (from) => {
      expect(() => modelfile(from, 'a.gguf', undefined)).toThrow(ConfigError);
      expect(() => modelfile(from, 'a.gguf', undefined)).toThrow(
        /FROM in the Modelfile: found .*--from gives another name/,
      );
    },
  );

  it('says why there is no TEMPLATE', () => {
    expect(modelfile('x', 'a.gguf', undefined)).toMatchObject({
      text: 'FROM x\nADAPTER ./a.gguf\n',
      notes: [/no chat template/].map((note) => expect.stringMatching(note) as string),
    });
    expect(modelfile('x', 'a.gguf', chat(LLAMA2)).notes[0]).toContain(
      'none of the known shapes (ChatML, Llama 3, Zephyr',
    );
  });

  itReferences("knows TinyLlama's own template as Zephyr's", 'tokenizers', () => {
    const config = JSON.parse(readFileSync(referencePath('tokenizers/llama2/tokenizer_config.json'), 'utf8')) as {
      chat_template: string;
    };
    expect(findShape(chat(config.chat_template, { bos_token: '<s>', eos_token: '</s>' }))?.shape.name).toBe('Zephyr');
  });
});
