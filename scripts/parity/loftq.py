"""A LoftQ adapter belongs on the base in NF4. This machine may have no bitsandbytes, so its quantisation is written down here once more."""
import json

import peft
import torch
from safetensors import safe_open

from models import load_model

# bitsandbytes' NF4 table.
NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])


def nf4(weight, block=64):
    """The weight quantised to NF4 in blocks and decoded again."""
    flat = weight.detach().reshape(-1)
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % block)).reshape(-1, block)
    scale = blocks.abs().amax(1, keepdim=True).clamp_min(1e-38)
    nearest = ((blocks / scale)[..., None] - NF4).abs().argmin(-1)
    return (NF4[nearest] * scale).reshape(-1)[: len(flat)].reshape(weight.shape)


def on_quantized_base(path, adapter, folder):
    """PEFT's model of the adapter over the base that it belongs on: the adapted weights in NF4."""
    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        note = json.loads(file.metadata()["lowrank_init"])
        adapted = {key.removeprefix("base_model.model.").removesuffix(".lora_A.weight") for key in file.keys() if key.endswith(".lora_A.weight")}
    assert note["loftq_config"]["loftq_iter"] == 1, note
    base = load_model(path)
    for name in adapted:
        layer = base.get_submodule(name)
        turned = type(layer).__name__ == "Conv1D"
        value = nf4(layer.weight.T.contiguous() if turned else layer.weight)
        layer.weight.data = value.T.contiguous() if turned else value
    return peft.PeftModel.from_pretrained(base, adapter).eval()
