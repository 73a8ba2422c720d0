"""Random conversations in the words of chat templates, with transformers' token ids and assistant masks, as JSON for chat-masks.mjs.

usage: python chat-masks.py TEMPLATES TOKENIZERS OUTPUT [--count 40] [--seed 0]

TEMPLATES is a folder of *.jinja files with {% generation %} marks; TOKENIZERS a folder with one folder per tokenizer, each with a
tokenizer.json or tokenizer.rebuilt.json. Run with transformers 5.18.
"""
import argparse
import json
import random
from pathlib import Path

import transformers

WORDS = ["one", "Two", "three", "naïve", "Zürich", "日本語", "🙂", "👩‍👩‍👧", "x = 1", "def f():", "e\u0301t\u00e9", "3.14", "1234567", "I'm", "don't", "<b>", "{% raw %}", "\ue000", "a_b", "–", "«q»", "\u00a0", "<|im_end|>", "[INST]", "</s>"]
SEPARATORS = [" ", " ", " ", "\n", "\n\n", "  ", "\t", "", "    ", "\r\n"]


def text(rng, most=12):
    out = rng.choice(["", "", " ", "\n", "    "])
    for _ in range(rng.randrange(most)):
        out += rng.choice(WORDS) + rng.choice(SEPARATORS)
    return out


def call(rng):
    values = [lambda: text(rng, 3), lambda: rng.randrange(10**6), lambda: rng.random(), lambda: 21.0, lambda: 12345678901234567890, lambda: True, lambda: None, lambda: [1, "a", {"b": 1e-7}], lambda: 1e22]
    return {"type": "function", "function": {"name": rng.choice(["get_time", "add"]), "arguments": {key: rng.choice(values)() for key in rng.sample(["city", "x", "y", "ünit"], rng.randrange(4))}}}


def conversation(rng):
    messages = []
    if rng.random() < 0.3:
        messages.append({"role": "system", "content": text(rng)})
    tools = rng.random() < 0.4
    for _ in range(rng.randrange(1, 4)):
        messages.append({"role": "user", "content": text(rng)})
        while tools and rng.random() < 0.4:
            calls = [call(rng) for _ in range(rng.randrange(1, 3))]
            messages.append({"role": "assistant", "content": rng.choice(["", text(rng, 4)]), "tool_calls": calls})
            messages += [{"role": "tool", "content": text(rng, 4)} for _ in calls]
        answer = {"role": "assistant", "content": text(rng)}
        if rng.random() < 0.2:
            answer["reasoning_content"] = text(rng, 5)
        elif rng.random() < 0.2:
            answer["content"] = "<think>" + text(rng, 5) + "</think>" + answer["content"]
        messages.append(answer)
    if rng.random() < 0.2:
        messages.append({"role": "user", "content": text(rng)})
    tool = {"type": "function", "function": {"name": "get_time", "description": text(rng, 5), "parameters": {"type": "object", "properties": {"city": {"type": "string", "default": 1.0}}, "required": ["city"]}}}
    return {"messages": messages, **({"tools": [tool]} if tools else {})}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("templates", type=Path)
    parser.add_argument("tokenizers", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    conversations = [conversation(rng) for _ in range(args.count)]
    cases, tokenizers = [], {}
    for folder in sorted(path for path in args.tokenizers.iterdir() if path.is_dir()):
        file = next((folder / name for name in ("tokenizer.json", "tokenizer.rebuilt.json") if (folder / name).exists()), None)
        if file is None:
            continue
        loaded = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
        names = {entry.content for entry in loaded.added_tokens_decoder.values()}
        bos = next((name for name in ("<s>", "<|endoftext|>") if name in names), None)
        eos = next((name for name in ("</s>", "<|im_end|>", "<|endoftext|>") if name in names), None)
        loaded.bos_token, loaded.eos_token = bos, eos
        tokenizers[folder.name] = {"file": file.name, "bos_token": bos, "eos_token": eos}
        for template in sorted(args.templates.glob("*.jinja")):
            source = template.read_text(encoding="utf-8")
            if "generation %}" not in source and "generation -%}" not in source:
                continue
            for index, one in enumerate(conversations):
                case = {"template": template.name, "tokenizer": folder.name, "conversation": index}
                try:
                    options = dict(chat_template=source, tools=one.get("tools"))
                    case["text"] = loaded.apply_chat_template(one["messages"], tokenize=False, **options)
                    encoded = loaded.apply_chat_template(one["messages"], return_dict=True, return_assistant_tokens_mask=True, **options)
                    case.update(input_ids=encoded["input_ids"], mask=encoded["assistant_masks"])
                except Exception as error:
                    case["error"] = f"{type(error).__name__}: {error}"
                cases.append(case)
    args.output.write_text(json.dumps({"transformers": transformers.__version__, "tokenizers": tokenizers, "conversations": conversations, "cases": cases}), encoding="utf-8")
    print(f"{len(cases)} cases, {sum('error' in case for case in cases)} refused by transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
