"""Writes test/golden/generate: tiny random models, and how transformers continues prompts with them greedily.

Each prompt is continued alone and in a batch that is padded on the left. Every choice is clear: the best logit is at least 1e-2 above
the second.
Usage: python scripts/golden/greedy_tokens.py   (pip install torch==2.13.0 transformers==5.18.0)
"""
import json
import shutil
from pathlib import Path

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

torch.set_num_threads(1)
OUT = Path(__file__).parents[2] / "test/golden/generate"
VOCABULARY, LENGTH, MARGIN = 48, 12, 1e-2
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.35}
LLAMA = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**COMMON, **LLAMA, tie_word_embeddings=False)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**COMMON, **LLAMA, head_dim=8, tie_word_embeddings=False)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**COMMON, n_embd=24, n_layer=2, n_head=4, n_positions=64)),
}
PROMPTS = [[1, 7, 12], [5], [1, 30, 31, 9, 22, 14, 40], [11, 11, 3, 25]]


def continued(model, rows, new_tokens):
    """Greedy tokens of rows that are padded on the left, and the least distance between the best two logits."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    out = model.generate(ids, attention_mask=mask, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, eos_token_id=None, pad_token_id=0, return_dict_in_generate=True, output_logits=True)
    best = torch.stack(out.logits).topk(2).values
    return out.sequences[:, longest:].tolist(), (best[..., 0] - best[..., 1]).min().item()


def choose(name):
    """The first seed with clear choices, and more than a few tokens."""
    for seed in range(100):
        torch.manual_seed(seed)
        model = MODELS[name]().eval()
        batch, margin = continued(model, PROMPTS, LENGTH)
        if margin <= MARGIN or len({token for row in batch for token in row}) < 4:
            continue
        alone = [continued(model, [prompt], LENGTH) for prompt in PROMPTS]
        tokens = [rows[0] for rows, _ in alone]
        if min(m for _, m in alone) > MARGIN and tokens == batch:
            return model, tokens
    raise SystemExit(f"{name}: no seed has clear choices")


references = {}
for name in MODELS:
    model, tokens = choose(name)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    with torch.no_grad():
        logits = model(torch.tensor([PROMPTS[2]])).logits[0, -1].tolist()
    references[name] = {"tokens": tokens, "logits": [float(f"{x:.7g}") for x in logits]}
(OUT / "tokens.json").write_text(json.dumps({"version": transformers.__version__, "prompts": PROMPTS, "models": references}, separators=(",", ":")) + "\n")
