/** The turns after an optional system message, which is put in front of the first question. */
const SYSTEM_IN_FIRST_TURN = `{%- if messages[0]['role'] == 'system' %}
    {%- set before = messages[0]['content'] + '\\n\\n' %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set before = '' %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in turns %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Turns must alternate: user, assistant, user, assistant, …') }}
    {%- endif %}`;

/**
 * Chat templates by name. They write conversations of system, user and assistant as the published templates of these
 * models do, and mark what the assistant says with its closing token by `{% generation %}`, as transformers reads it.
 */
const TEMPLATES = {
  /** OpenAI's ChatML, as Qwen and SmolLM have it. */
  chatml: `{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
        {{- message['content'] + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- message['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}`,

  /** Meta-Llama-3-8B-Instruct. */
  llama3: `{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
        {{- message['content'] | trim + '<|eot_id|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}`,

  /** gemma-2-2b-it; a system message, which it refuses, is written as gemma-3 writes it. */
  gemma: `${SYSTEM_IN_FIRST_TURN}
    {%- if message['role'] == 'assistant' %}
        {{- '<start_of_turn>model\\n' }}
        {%- generation %}
        {{- message['content'] | trim + '<end_of_turn>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- '<start_of_turn>' + message['role'] + '\\n' }}
        {%- if loop.first %}
            {{- before }}
        {%- endif %}
        {{- message['content'] | trim + '<end_of_turn>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}`,

  /** Phi-3-mini-4k-instruct. */
  phi3: `{%- for message in messages %}
    {{- '<|' + message['role'] + '|>\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
        {{- message['content'] + '<|end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- message['content'] + '<|end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- else %}
    {{- eos_token }}
{%- endif %}`,

  /** zephyr-7b-beta and TinyLlama-1.1B-Chat. */
  zephyr: `{%- for message in messages %}
    {{- '<|' + message['role'] + '|>\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
        {{- message['content'] }}{{ eos_token }}
        {%- endgeneration %}
    {%- else %}
        {{- message['content'] }}{{ eos_token }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- endif %}`,

  /** Mistral-7B-Instruct-v0.2. */
  mistral: `${SYSTEM_IN_FIRST_TURN}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
        {{- ' ' + message['content'] }}{{ eos_token }}
        {%- endgeneration %}
    {%- else %}
        {{- ' [INST] ' }}
        {%- if loop.first %}
            {{- before }}
        {%- endif %}
        {{- message['content'] + ' [/INST]' }}
    {%- endif %}
{%- endfor %}`,

  /** The prompt of Stanford Alpaca, turn after turn; a system message stands in place of its first sentences. */
  alpaca: `{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set turns = messages[1:] %}
    {{- messages[0]['content'] + '\\n\\n' }}
{%- else %}
    {%- set turns = messages %}
    {{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\\n\\n' }}
{%- endif %}
{%- for message in turns %}
    {%- if message['role'] == 'assistant' %}
        {{- '### Response:\\n' }}
        {%- generation %}
        {{- message['content'] }}{{ eos_token }}
        {%- endgeneration %}
        {{- '\\n\\n' }}
    {%- else %}
        {{- '### Instruction:\\n' + message['content'] + '\\n\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '### Response:\\n' }}
{%- endif %}`,
} as const satisfies Readonly<Record<string, string>>;

export const CHAT_TEMPLATE_NAMES: readonly string[] = Object.keys(TEMPLATES);

/** The source of a chat template that is given by its name, or as the source itself. */
export function chatTemplateSource(template: string): string {
  return Object.hasOwn(TEMPLATES, template) ? TEMPLATES[template as keyof typeof TEMPLATES] : template;
}

/** Whether a text can be a chat template: the name of one, or Jinja that writes something. */
export function isChatTemplate(template: string): boolean {
  return Object.hasOwn(TEMPLATES, template) || /\{[{%]/.test(template);
}
