import { memoryDirectory, type Directory } from '../../src/io/directory.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';

/** ChatML, as most small instruction models write it. */
export const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<s>'];

/** The letters byte-level BPE writes bytes with: printable ones stand for themselves, others start at U+0100. */
function byteLetters(): string[] {
  let shifted = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : shifted++);
  });
}

/**
 * A byte-level tokenizer with a handful of merges that join letters, and a space to the word after it: every text can
 * be written, and boundaries of prompts do fall inside of tokens.
 */
export function smallTokenizerFiles(config: Record<string, unknown> = {}): Record<string, string> {
  const letters = byteLetters();
  const space = letters[0x20] as string;
  const merges = [
    [space, 't'],
    [`${space}t`, 'h'],
    [`${space}th`, 'e'],
    ['a', 'n'],
    ['e', 'r'],
    ['l', 'l'],
    ['e', 'll'],
    ['a', 'b'],
  ];
  const vocab = [...SPECIAL, ...letters, ...merges.map((pair) => pair.join(''))];
  const json = {
    version: '1.0',
    added_tokens: SPECIAL.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<s>': { id: '<s>', ids: [3], tokens: ['<s>'] } },
    },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
  return {
    'tokenizer.json': JSON.stringify(json),
    'tokenizer_config.json': JSON.stringify({
      bos_token: '<s>',
      eos_token: '<|endoftext|>',
      chat_template: CHATML,
      ...config,
    }),
  };
}

export function smallTokenizerDirectory(config: Record<string, unknown> = {}): Directory {
  return memoryDirectory('small', smallTokenizerFiles(config));
}

export async function smallTokenizer(config: Record<string, unknown> = {}): Promise<Tokenizer> {
  const tokenizer = await loadTokenizer(smallTokenizerDirectory(config));
  if (tokenizer === undefined) throw new Error('the fixture has a tokenizer.json');
  return tokenizer;
}
