#!/usr/bin/env python3
"""
Compares lowrank with PEFT and trl, on tiny random models that are made here from a seed:

    npm run build && python scripts/parity/compare.py [--seed 7] [--models llama,gpt2] [--device wasm] [--markdown FILE]

1. Adapters that lowrank makes and trains are loaded by PEFT: nothing missing, nothing left over, equal logits and loss.
2. Adapters that PEFT makes are loaded by lowrank: equal logits.
3. Training by lowrank and by trl's SFTTrainer from the same adapter over the same rows: equal losses and gradient norms at every step.
"""
import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import numpy as np
import peft
import torch
import transformers
import trl

sys.path.insert(0, str(Path(__file__).resolve().parent))
from loftq import on_quantized_base
from methods import MADE_BY_PEFT, MADE_HERE, lora_config, named
from models import MODELS, load_model, make_model, rows
from sft import trl_losses

HERE = Path(__file__).resolve().parent
LOGITS, LOSS = 1e-4, 2e-5
TRAINING = dict(max_steps=3, per_device_train_batch_size=4, learning_rate=0.02, lr_scheduler_type="constant", weight_decay=0.0, seed=1)
SFT = dict(max_steps=12, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=5e-3, lr_scheduler_type="cosine", warmup_steps=2, weight_decay=0.01, max_grad_norm=1.0, seed=1)
SFT_SETTINGS = {"LoRA": dict(r=4, lora_alpha=8, target_modules="all-linear"), "DoRA": dict(r=4, lora_alpha=8, target_modules="all-linear", use_dora=True)}


def run_driver(jobs, folder, arguments):
    """Has lowrank do the jobs, in one process."""
    asked, answered = folder / "jobs.json", folder / "results.json"
    asked.write_text(json.dumps({"jobs": jobs, "device": arguments.device}))
    subprocess.run([arguments.node, str(HERE / "driver.mjs"), str(asked), str(answered)], check=True, stdout=subprocess.DEVNULL)
    return json.loads(answered.read_text())


def decoded(logits):
    return np.frombuffer(base64.b64decode(logits["data"]), dtype=np.float32).reshape(logits["shape"])


@torch.no_grad()
def logits_of(model, ids):
    """Logits behind what virtual tokens of a prompt there are."""
    return model(input_ids=torch.tensor([ids])).logits[0, -len(ids):].numpy()


def loss_of(logits, examples):
    """Mean loss of the learnt tokens, as both sides have it."""
    total, count = 0.0, 0
    for values, example in zip(logits, examples):
        scores = torch.tensor(values[:-1]).double().log_softmax(-1)
        for position, label in enumerate(example["labels"][1:]):
            if label != -100:
                total -= scores[position, label].item()
                count += 1
    return total / count


def load_peft(path, adapter):
    """The adapter in PEFT; what it warns of missing or unexpected keys is an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(load_model(path), adapter).eval()
    bad = [str(w.message) for w in caught if "missing" in str(w.message).lower() or "unexpected" in str(w.message).lower()]
    if bad:
        raise RuntimeError("; ".join(bad)[:300])
    return model


def randomized(model, seed):
    """PEFT's adapter with random values in all that it trains, magnitudes kept positive."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter).abs() if "magnitude" in name else 0.05 * torch.randn_like(parameter))
    return model.eval()


def worst(ours, theirs):
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--models", default=",".join(MODELS), help="of " + ", ".join(MODELS))
    parser.add_argument("--device", default="wasm")
    parser.add_argument("--node", default="node")
    parser.add_argument("--markdown", help="file that gets the table, between its two markers")
    arguments = parser.parse_args()
    models = arguments.models.split(",")
    unknown = [name for name in models if name not in MODELS]
    if unknown:
        parser.error(f"--models: {', '.join(unknown)}: there are {', '.join(MODELS)}")
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as made:
        return compare(Path(made), models, arguments)


def compare(folder, models, arguments):
    seed = arguments.seed
    examples = rows(4, seed)
    ids = [example["input_ids"] for example in examples]
    learnt = rows(24, seed + 1)
    bases, jobs, skipped = {}, [], []
    for model in models:
        path = bases[model] = make_model(model, seed, folder)
        jobs.append(dict(name=f"base|{model}", model=str(path), ids=ids, eval=examples))
        for method, settings in MADE_HERE.items():
            settings = named(settings, model)
            if "tied" in model and settings.get("modules_to_save") == ["lm_head"]:
                skipped.append((model, method))
                continue
            jobs.append(dict(name=f"here|{model}|{method}", model=str(path), make=settings, seed=seed, training=TRAINING, rows=learnt, out=str(folder / "here" / model / method), ids=ids, eval=examples))
            # What a file says is what is compared: training of PiSSA goes on from another form of it.
            jobs.append(dict(name=f"again|{model}|{method}", model=str(path), adapter=str(folder / "here" / model / method), ids=ids, eval=examples))
        for method, settings in MADE_BY_PEFT.items():
            adapter = randomized(peft.get_peft_model(load_model(path), lora_config(settings, model)), seed)
            adapter.save_pretrained(folder / "peft" / model / method)
            np.savez(folder / f"{model}-{method}.npz", *[logits_of(adapter, row) for row in ids])
            jobs.append(dict(name=f"peft|{model}|{method}", model=str(path), adapter=str(folder / "peft" / model / method), ids=ids))
        for method, settings in SFT_SETTINGS.items():
            start = folder / "sft" / model / method
            torch.manual_seed(seed)
            peft.get_peft_model(load_model(path), lora_config(settings, model)).save_pretrained(start)
            jobs.append(dict(name=f"sft|{model}|{method}", model=str(path), adapter=str(start), training=SFT, rows=learnt))
    answer = run_driver(jobs, folder, arguments)
    results, lines, failures = answer["results"], [], []

    def check(what, model, method, measure):
        try:
            numbers, good = measure()
        except Exception as error:
            numbers, good = f"{type(error).__name__}: {str(error)[:200]}", False
        lines.append((what, model, method, numbers, good))
        if not good:
            failures.append(f"{what}, {model}, {method}: {numbers}")
        print(f"{'ok  ' if good else 'FAIL'} {what:16} {model:11} {method:36} {numbers}", flush=True)

    def ours(name):
        result = results[name]
        if "error" in result:
            raise RuntimeError(result["error"])
        return result

    def against(name, theirs, base=None):
        result = ours(name)
        mine = [decoded(values) for values in result["logits"]]
        apart = worst(mine, theirs)
        loss = abs(result["loss"] - loss_of(theirs, examples)) if result.get("loss") is not None else None
        effect = worst(theirs, base) if base is not None else None
        text = f"logits {apart:.1e}" + ("" if loss is None else f", loss {loss:.1e}") + ("" if effect is None else f" (the adapter moves logits by {effect:.1e})")
        return text, apart <= LOGITS and (loss is None or loss <= LOSS) and (effect is None or effect > 10 * LOGITS)

    for model, path in bases.items():
        plain = load_model(path)
        base = [logits_of(plain, row) for row in ids]
        check("base model", model, "", lambda: against(f"base|{model}", base))
        for method in MADE_HERE:
            if (model, method) in skipped:
                continue

            def loaded(method=method):
                ours(f"here|{model}|{method}")
                adapter = folder / "here" / model / method
                with_adapter = on_quantized_base(path, adapter, folder) if method == "LoftQ" else load_peft(path, adapter)
                return against(f"again|{model}|{method}", [logits_of(with_adapter, row) for row in ids], base)

            check("here to PEFT", model, method, loaded)
        for method in MADE_BY_PEFT:
            kept = np.load(folder / f"{model}-{method}.npz")
            check("PEFT to here", model, method, lambda: against(f"peft|{model}|{method}", [kept[name] for name in kept.files], base))
        for method in SFT_SETTINGS:

            def trained(method=method):
                mine = ours(f"sft|{model}|{method}")["losses"]
                theirs = trl_losses(path, folder / "sft" / model / method, learnt, SFT, folder)
                apart = max(abs(a["loss"] - b["loss"]) for a, b in zip(mine, theirs))
                norms = max(abs(a["norm"] - b["grad_norm"]) / b["grad_norm"] for a, b in zip(mine, theirs))
                text = f"loss {apart:.1e}, gradient norm {norms:.1e} (relative) over {len(theirs)} steps, {theirs[0]['loss']:.3f} to {theirs[-1]['loss']:.3f}"
                return text, len(mine) == len(theirs) == SFT["max_steps"] and apart <= 1e-4 and norms <= 2e-3

            check("SFT beside trl", model, method, trained)

    versions = {"peft": peft.__version__, "transformers": transformers.__version__, "trl": trl.__version__, "torch": torch.__version__, "python": sys.version.split()[0], **answer["versions"]}
    print(", ".join(f"{name} {version}" for name, version in versions.items()), answer["device"], sep="; ")
    print(f"{len(lines) - len(failures)} of {len(lines)} comparisons agree")
    if arguments.markdown:
        from report import write_table

        write_table(Path(arguments.markdown), lines, versions, answer["device"], arguments)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
