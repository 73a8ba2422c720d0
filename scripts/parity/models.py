"""Tiny random models of every family, and the rows that they read."""
import random

import torch
import transformers

COMMON = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA = dict(num_key_value_heads=2, attention_dropout=0.0)
GPT2 = dict(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
PHI = dict(COMMON, resid_pdrop=0.0, embd_pdrop=0.0, attention_dropout=0.0)

# Name: class of the configuration and its settings.
MODELS = {
    "llama": ("LlamaConfig", dict(COMMON, **LLAMA, tie_word_embeddings=False)),
    "llama tied": ("LlamaConfig", dict(COMMON, **LLAMA, tie_word_embeddings=True, attention_bias=True, mlp_bias=True)),
    "mistral": ("MistralConfig", dict(COMMON, **LLAMA, tie_word_embeddings=False, sliding_window=5)),
    "qwen2": ("Qwen2Config", dict(COMMON, **LLAMA, tie_word_embeddings=True)),
    "qwen3": ("Qwen3Config", dict(COMMON, **LLAMA, head_dim=8, tie_word_embeddings=False)),
    "gpt2": ("GPT2Config", dict(GPT2, tie_word_embeddings=True)),
    "gpt_neox": ("GPTNeoXConfig", dict(COMMON, rotary_pct=0.5, tie_word_embeddings=False, attention_dropout=0.0, hidden_dropout=0.0)),
    "phi": ("PhiConfig", dict(PHI, tie_word_embeddings=False)),
    "phi3": ("Phi3Config", dict(PHI, num_key_value_heads=2, tie_word_embeddings=False)),
    "gemma": ("GemmaConfig", dict(COMMON, **LLAMA, head_dim=8, tie_word_embeddings=True)),
}


def make_model(name, seed, folder):
    """Writes a model with random weights, norms and biases too, and returns its folder."""
    kind, settings = MODELS[name]
    config = getattr(transformers, kind)(**settings)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = folder / name.replace(" ", "-")
    model.save_pretrained(path)
    return path


def load_model(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()


def rows(count, seed, vocab=96, longest=24):
    """
    Token rows of odd lengths, of which the first few tokens are not learnt. The first never is: nothing predicts it, but the Trainer counts its label
    among the tokens of a batch where a model's class is not called ...ForCausalLM (GPT2LMHeadModel), and divides by one too many.
    """
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        ids = [draw.randrange(3, vocab) for _ in range(draw.randrange(7, longest))]
        given = draw.randrange(1, 4)
        made.append({"input_ids": ids, "labels": [-100] * given + ids[given:]})
    return made
