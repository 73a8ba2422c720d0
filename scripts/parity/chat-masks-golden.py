"""Writes test/golden/chat-masks/masks.json: conversations in the words of chat templates, with transformers' token ids and assistant masks.

usage: python chat-masks-golden.py TOKENIZER OUTPUT   (configs/quickstart/base, test/golden/chat-masks/masks.json)

The templates are this script's own, with {% generation %} marks around different things. Run with transformers 5.18.
"""
import json
import sys
from pathlib import Path

import transformers

TEMPLATES = {
    "content and end": "{% for m in messages %}{{ '[' + m.role + ']\\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{{ '\\n' }}{% else %}{{ m.content + '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '[assistant]\\n' }}{% endif %}",
    "line break within": "{% for m in messages %}{{ m.role + ': ' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '\\n' }}{% endgeneration %}{% else %}{{ m.content + '\\n' }}{% endif %}{% endfor %}",
    "header too": "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ 'A:' + m.content + eos_token }}{% endgeneration %}{% else %}{{ 'U:' + m.content }}{% endif %}{% endfor %}",
    "two in a turn": "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'A:' }}{% if m.reasoning_content %}{% generation %}{{ '(' + m.reasoning_content + ')' }}{% endgeneration %}{{ ' | ' }}{% endif %}{% generation %}{{ m.content | trim }}{% endgeneration %}{{ eos_token }}{% else %}{{ m.role + ':' + m.content + ' ' }}{% endif %}{% endfor %}",
    "calls": "{% if tools %}{{ tools | tojson }}{{ '\\n' }}{% endif %}{% for m in messages %}{{ m.role + ':' }}{% if m.role == 'assistant' %}{%- generation -%}{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ c.function.name + '(' }}{{ c.function.arguments | tojson }}{{ ')' }}{% endfor %}{{ eos_token }}{%- endgeneration -%}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}",
    "last alone": "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}A: {% generation %}\n    {{ m.content }}\n{% endgeneration %}{% else %}{{ m.role }}: {{ m.content }}\n{% endif %}{% endfor %}",
}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(**arguments):
    return [{"type": "function", "function": {"name": "get_time", "arguments": arguments}}]


TOOLS = [{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {"city": {"type": "string", "default": 1.0}}}}}]
CONVERSATIONS = [
    {"messages": [user("What is the time?"), assistant("Noon.")]},
    {"messages": [{"role": "system", "content": "Be brief."}, user("One?"), assistant(" Uno "), user("Two?"), assistant(""), user("Three?"), assistant("Tres\n")]},
    {"messages": [user("Write a loop."), assistant("for x in y:\n    total += x\n\n    print(total)"), user("Thanks")]},
    {"messages": [user("Zürich – 日本 🙂?"), assistant("naïve «e\u0301» 👩‍👩‍👧\r\n", reasoning_content="think\nmore"), user("\t"), assistant("    four")]},
    {"messages": [user("Oslo?"), assistant("", tool_calls=call(city="Oslo", x=21.0, big=12345678901234567890, none=None)), {"role": "tool", "content": "12:00"}, assistant("Noon in Oslo.")], "tools": TOOLS},
    {"messages": [user("both"), assistant("a", tool_calls=call(**{"10": 1, "2": [1e-7, True, "ü"]}) + call()), {"role": "tool", "content": "x"}, {"role": "tool", "content": "y"}, assistant("b"), user("\ue000c"), assistant("\ue000g0\ue001d")]},
    {"messages": [user(""), assistant("I'm, don't, 3.14, 1234567, x=1")]},
]


def main():
    folder, output = sys.argv[1:]
    loaded = transformers.PreTrainedTokenizerFast(tokenizer_file=str(Path(folder) / "tokenizer.json"))
    config = json.loads((Path(folder) / "tokenizer_config.json").read_text(encoding="utf-8"))
    loaded.bos_token, loaded.eos_token = config.get("bos_token"), config.get("eos_token")
    cases = []
    for name, template in TEMPLATES.items():
        for index, conversation in enumerate(CONVERSATIONS):
            case = {"template": name, "conversation": index}
            try:
                encoded = loaded.apply_chat_template(conversation["messages"], tools=conversation.get("tools"), chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
                case.update(input_ids=encoded["input_ids"], mask="".join(map(str, encoded["assistant_masks"])))
            except Exception as error:
                case["error"] = type(error).__name__
            cases.append(case)
    data = {"transformers": transformers.__version__, "templates": TEMPLATES, "conversations": CONVERSATIONS, "cases": cases}
    Path(output).write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(cases)} cases, {sum('error' in case for case in cases)} refused")


if __name__ == "__main__":
    main()
