"""What is compared: kinds of LoRA and trained prompts, as lowrank's config and as PEFT's have them."""
import peft

# lowrank's `adapter` section. HEAD and EMBEDDING stand for the names that a family has for them.
MADE_HERE = {
    "LoRA, all linear layers": dict(r=4, lora_alpha=8),
    "rsLoRA": dict(r=4, lora_alpha=8, use_rslora=True),
    "DoRA": dict(r=4, lora_alpha=8, use_dora=True),
    "LoRA, gaussian start": dict(r=4, lora_alpha=8, init_lora_weights="gaussian"),
    "PiSSA": dict(r=3, lora_alpha=6, init_lora_weights="pissa"),
    "ranks by pattern": dict(r=4, lora_alpha=8, rank_pattern={"1\\..*": 2}, alpha_pattern={"0\\..*": 3}),
    "one layer": dict(r=4, lora_alpha=8, layers_to_transform=1, target_modules="LINEARS"),
    "LoRA of embedding and output layer": dict(r=4, lora_alpha=8, target_modules=["EMBEDDING", "HEAD"]),
    "output layer trained whole": dict(r=4, lora_alpha=8, modules_to_save=["HEAD"]),
    "norms trained whole": dict(r=4, lora_alpha=8, modules_to_save=["NORM"]),
    "trained tokens": dict(r=4, lora_alpha=8, trainable_token_indices=[1, 5, 95]),
    "LoftQ": dict(r=4, lora_alpha=8, init_lora_weights="loftq"),
    "trained prompt": dict(method="prompt_tuning", num_virtual_tokens=3),
}

# PEFT's LoraConfig, with random A and B.
MADE_BY_PEFT = {
    "LoRA": dict(r=4, lora_alpha=8, target_modules="all-linear"),
    "rsLoRA, DoRA": dict(r=4, lora_alpha=8, target_modules="all-linear", use_rslora=True, use_dora=True),
    "output layer and embedding": dict(r=4, lora_alpha=8, target_modules=["EMBEDDING", "HEAD"]),
    "modules_to_save": dict(r=4, lora_alpha=8, target_modules="all-linear", modules_to_save=["HEAD"]),
    "trainable tokens": dict(r=4, lora_alpha=8, target_modules="all-linear", trainable_token_indices=[0, 7, 95]),
    "patterns": dict(r=4, lora_alpha=8, target_modules="all-linear", rank_pattern={"0\\..*": 2}, alpha_pattern={"1\\..*": 5}),
}

NAMES = {
    "gpt2": dict(EMBEDDING="wte", HEAD="lm_head", NORM="ln_f", LINEARS=["c_attn", "c_fc"]),
    "gpt_neox": dict(EMBEDDING="embed_in", HEAD="lm_head", NORM="final_layer_norm", LINEARS=["query_key_value", "dense_4h_to_h"]),
    "phi": dict(EMBEDDING="embed_tokens", HEAD="lm_head", NORM="final_layernorm", LINEARS=["q_proj", "fc2"]),
    "phi3": dict(EMBEDDING="embed_tokens", HEAD="lm_head", NORM="post_attention_layernorm", LINEARS=["qkv_proj", "gate_up_proj"]),
}
LLAMA = dict(EMBEDDING="embed_tokens", HEAD="lm_head", NORM="post_attention_layernorm", LINEARS=["q_proj", "down_proj"])


def named(value, model):
    """A setting with the names of a family in it."""
    names = NAMES.get(model.split()[0], LLAMA)
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [named(item, model) for item in value]
    if isinstance(value, dict):
        return {key: named(item, model) for key, item in value.items()}
    return value


def lora_config(settings, model):
    return peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **named(settings, model))
