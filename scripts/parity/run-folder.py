#!/usr/bin/env python3
"""
Trains a conversation run with lowrank and uses its folder in Python: transformers' AutoTokenizer and AutoModelForCausalLM with
PEFT's PeftModel, the chat template as it was saved. The greedy answer to each conversation must be that of `lowrank generate RUN --messages`.

    npm run build && python scripts/parity/run-folder.py [--model configs/quickstart/base] [--steps 40] [--markdown docs/accuracy.md]

The model must have a tokenizer.json and need no chat template of its own. Compared are the number of prompt tokens, the token ids of the answer and its text.
"""
import argparse
import datetime
import json
import re
import subprocess
import tempfile
from pathlib import Path

import peft
import tokenizers
import torch
import transformers

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- run-folder: begin -->", "<!-- run-folder: end -->"
NAMES = ["Anna", "Tom", "Mia", "Ben", "Lily", "Max", "Sara", "Tim"]
THINGS = ["a red ball", "a small dog", "an old book", "two apples"]
# A template with a default system text, variables and trimming, besides the one that lowrank has under the name chatml.
OWN = (
    "{%- if messages[0].role != 'system' %}{{ '<|system|>' + (opening or 'Be brief.') + '\\n' }}{% endif %}"
    "{%- for m in messages %}{{ '<|' + m.role + '|>' + m.content | trim + '<|end|>\\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEMPLATES = [("chatml, by name", "chatml", {}), ("a template of its own, with a variable", OWN, {"opening": "Answer at once."})]


def conversations():
    rows = []
    for i, name in enumerate(NAMES * 3):
        thing = THINGS[i % len(THINGS)]
        rows.append([{"role": "user", "content": f"What does {name} have?"}, {"role": "assistant", "content": f"{name} has {thing}."}])
        if i % 3 == 0:
            rows[-1] += [{"role": "user", "content": " And who has it? "}, {"role": "assistant", "content": f"It is {name}."}]
    return rows


def asked():
    """Prompts of one and of several turns, with and without system text, seen in training or not."""
    first = [[{"role": "user", "content": f"What does {name} have?"}] for name in [*NAMES, "Zoe", "Ömer"]]
    later = [[{"role": "user", "content": "What does Tom have?"}, {"role": "assistant", "content": "Tom has two apples."}, {"role": "user", "content": "And who has it?"}]]
    system = [[{"role": "system", "content": "You tell stories."}, {"role": "user", "content": "Once upon a time\nthere was"}]]
    return first + later + system


def lowrank(*arguments):
    program = ROOT / json.loads((ROOT / "package.json").read_text())["bin"]["lowrank"]
    done = subprocess.run(["node", str(program), *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"lowrank {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def train(folder, model, template, variables, steps):
    data = folder / "chat.jsonl"
    data.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in conversations()), encoding="utf-8")
    config = {
        "model": str(model),
        "data": {"train": str(data), "chat_template": template, "chat_template_kwargs": variables, "max_length": 128},
        "adapter": {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
        "device": "wasm",
        "training": {"output_dir": str(folder / "run"), "max_steps": steps, "learning_rate": 0.01, "per_device_train_batch_size": 8},
    }
    (folder / "run.yaml").write_text(json.dumps(config), encoding="utf-8")
    lowrank("train", folder / "run.yaml")
    return folder / "run"


def compare(run, variables, new_tokens):
    """[(prompt ids agree, answer ids agree, texts agree, answer)] for each conversation, in Python beside lowrank."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(run)
    base = json.loads((run / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, run).eval()
    # One process answers all of them; the first also by the flag --messages.
    requests = run.parent / "requests.jsonl"
    requests.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in asked()), encoding="utf-8")
    limits = ["--max-new-tokens", new_tokens, "--temperature", 0, "--device", "wasm"]
    here = [json.loads(line) for line in lowrank("generate", run, "--requests", requests, *limits).splitlines()]
    for i in range(3):
        (run.parent / "messages.json").write_text(json.dumps(asked()[i]), encoding="utf-8")
        alone = json.loads(lowrank("generate", run, "--messages", run.parent / "messages.json", "--json", *limits))
        assert alone["tokens"] == here[i]["tokens"] and alone["text"] == here[i]["text"], "a request is answered otherwise than --messages"
    results = []
    for messages, mine in zip(asked(), here, strict=True):
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True, **variables)
        stops = sorted({tokenizer.eos_token_id, *end_of_turn(tokenizer, variables)} - {None})
        with torch.no_grad():
            out = model.generate(**ids, max_new_tokens=new_tokens, do_sample=False, eos_token_id=stops, pad_token_id=stops[0])
        answer = out[0, ids["input_ids"].shape[1] :].tolist()
        # lowrank leaves the stop token out.
        kept = answer[:-1] if answer and answer[-1] in stops else answer
        text = tokenizer.decode(kept, skip_special_tokens=True)
        results.append((ids["input_ids"].shape[1] == mine["prompt_tokens"], kept == mine["tokens"], text == mine["text"], text, mine["text"]))
    return results


def end_of_turn(tokenizer, variables):
    """The first special token behind an answer, at which lowrank stops too."""
    text = tokenizer.apply_chat_template([{"role": "user", "content": "q"}, {"role": "assistant", "content": "ANSWER"}], tokenize=False, **variables)
    ids = tokenizer.encode(text[text.index("ANSWER") + 6 :], add_special_tokens=False)
    return [token for token in ids if token in tokenizer.all_special_ids][:1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "configs/quickstart/base")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    table = ["| chat template | conversations | prompt lengths equal | answer tokens equal | texts equal |", "|---|---:|---:|---:|---:|"]
    wrong = 0
    for name, template, variables in TEMPLATES:
        with tempfile.TemporaryDirectory() as folder:
            run = train(Path(folder), args.model.resolve(), template, variables, args.steps)
            results = compare(run, variables, args.new_tokens)
        for prompt, tokens, text, there, here in results:
            if not (prompt and tokens and text):
                wrong += 1
                print(f"{name}: transformers {there!r}, lowrank {here!r}")
        print(f"{name}: {results[0][4]!r}, {results[-1][4]!r}")
        table.append(f"| {name} | {len(results)} | " + " | ".join(str(sum(row[i] for row in results)) for i in range(3)) + " |")
    version = json.loads((ROOT / "package.json").read_text())["version"]
    modules = {"transformers": transformers, "peft": peft, "torch": torch, "tokenizers": tokenizers}
    versions = ", ".join(f"{name} {module.__version__}" for name, module in modules.items())
    base = args.model.resolve()
    shown = base.relative_to(ROOT) if base.is_relative_to(ROOT) else base.name
    head = f"{datetime.date.today()}, base {shown}, {args.steps} steps, wasm. {versions}, lowrank {version}."
    text = "\n".join([BEGIN, head, "", *table, END])
    print(text)
    if args.markdown is not None:
        page = args.markdown.read_text()
        args.markdown.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: text, page, flags=re.S))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
