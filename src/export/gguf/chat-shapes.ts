/** A way of writing a conversation, as Ollama's Go template and as what it gives for one question. */
export interface ChatShape {
  readonly name: string;
  /** Go template of Ollama. */
  readonly template: string;
  readonly stops: readonly string[];
  /** What the template gives, without the start-of-text token; `system` may be empty. */
  render(system: string, user: string): string;
}

const block =
  (start: string, end: string) =>
  (text: string): string =>
    text === '' ? '' : `${start}${text}${end}`;

/**
 * One system part and one user part, each left out when empty, then the opening of the answer, the answer and its end.
 */
function plainShape(
  name: string,
  parts: { system: readonly [string, string]; user: readonly [string, string]; answer: readonly [string, string] },
  stops: readonly string[],
): ChatShape {
  const { system, user, answer } = parts;
  return {
    name,
    template:
      `{{ if .System }}${system[0]}{{ .System }}${system[1]}{{ end }}` +
      `{{ if .Prompt }}${user[0]}{{ .Prompt }}${user[1]}{{ end }}` +
      `${answer[0]}{{ .Response }}${answer[1]}`,
    stops,
    render: (systemText, userText) => block(...system)(systemText) + block(...user)(userText) + answer[0],
  };
}

const header = (role: string): string => `<|start_header_id|>${role}<|end_header_id|>\n\n`;

/** Mistral's models differ in the blanks around a question. */
const MISTRAL_BRACKETS = [
  ['[INST] ', ' [/INST]'],
  [' [INST] ', ' [/INST]'],
  ['[INST] ', '[/INST]'],
  ['[INST]', '[/INST]'],
] as const;

/** The shapes that are known, the likeliest first. */
export const CHAT_SHAPES: readonly ChatShape[] = [
  plainShape(
    'ChatML',
    {
      system: ['<|im_start|>system\n', '<|im_end|>\n'],
      user: ['<|im_start|>user\n', '<|im_end|>\n'],
      answer: ['<|im_start|>assistant\n', '<|im_end|>\n'],
    },
    ['<|im_start|>', '<|im_end|>'],
  ),
  plainShape(
    'Llama 3',
    {
      system: [header('system'), '<|eot_id|>'],
      user: [header('user'), '<|eot_id|>'],
      answer: [header('assistant'), '<|eot_id|>'],
    },
    ['<|start_header_id|>', '<|eot_id|>'],
  ),
  plainShape(
    'Zephyr',
    { system: ['<|system|>\n', '</s>\n'], user: ['<|user|>\n', '</s>\n'], answer: ['<|assistant|>\n', '</s>\n'] },
    ['<|system|>', '<|user|>', '</s>'],
  ),
  plainShape(
    'Phi-3',
    {
      system: ['<|system|>\n', '<|end|>\n'],
      user: ['<|user|>\n', '<|end|>\n'],
      answer: ['<|assistant|>\n', '<|end|>\n'],
    },
    ['<|system|>', '<|user|>', '<|end|>'],
  ),
  ...MISTRAL_BRACKETS.map(([open, close]): ChatShape => ({
    name: 'Mistral',
    template: `${open}{{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}${close}{{ .Response }}</s>`,
    stops: ['[INST]', '[/INST]', '</s>'],
    render: (system, user) => `${open}${block('', '\n\n')(system)}${user}${close}`,
  })),
  {
    name: 'Gemma',
    template:
      '<start_of_turn>user\n{{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}<end_of_turn>\n<start_of_turn>model\n{{ .Response }}<end_of_turn>\n',
    stops: ['<start_of_turn>', '<end_of_turn>'],
    render: (system, user) =>
      `<start_of_turn>user\n${block('', '\n\n')(system)}${user}<end_of_turn>\n<start_of_turn>model\n`,
  },
];
