#!/usr/bin/env python3
"""The training step of `lowrank bench step` in plain PyTorch, to compare with. Prints one JSON line with the same names.

A Llama-shaped decoder of random frozen weights: RMSNorm, rotary positions, causal grouped-query attention, SwiGLU, a tied output
layer; LoRA of scale 2 on its seven linear layers, both factors random; cross-entropy at every position against random labels;
AdamW on the factors. 4-bit weights are decoded in the forward pass and again in the backward pass.

    python3 scripts/bench/torch_step.py --shape tiny --quantize nf4
    python3 scripts/bench/torch_step.py --flops --shape llama1b        # the operations counted, without PyTorch
"""
import argparse
import json
import math
import resource
import statistics
import sys
import time
from collections import namedtuple

Dims = namedtuple("Dims", "hidden layers heads kv_heads ffn vocab batch seq")
SHAPES = {
    "tiny": Dims(288, 6, 6, 6, 768, 4096, 4, 128),
    "smol135m": Dims(576, 30, 9, 3, 1536, 49152, 4, 512),
    "qwen0.5b": Dims(896, 24, 14, 2, 4864, 151936, 4, 512),
    "llama1b": Dims(2048, 16, 32, 8, 8192, 128256, 4, 1024),
}
BLOCK = 64
LORA_SCALE = 2.0
# Quantiles of the normal distribution, normalised to [-1, 1]: Dettmers et al. 2023, arXiv:2305.14314.
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def step_flops(d):
    """4 for each frozen weight and token, and six causal products a layer of attention."""
    head_dim = d.hidden // d.heads
    weights = d.layers * (2 * d.hidden**2 + 2 * d.hidden * d.kv_heads * head_dim + 3 * d.hidden * d.ffn) + d.vocab * d.hidden
    attention = 6 * d.layers * d.batch * d.heads * d.seq**2 * head_dim
    return 4 * d.batch * d.seq * weights + attention


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="tiny")
    for name in ("batch", "seq", "layers", "threads"):
        parser.add_argument("--" + name, type=int)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--quantize", choices=["none", "nf4"], default="none")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--flops", action="store_true", help="only print the operations of a step")
    return parser.parse_args()


def build(torch, dims, args, device, dtype):
    """Returns loss(ids, labels) and the trained factors."""
    F = torch.nn.functional
    head_dim = dims.hidden // dims.heads
    generator = torch.Generator(device=device).manual_seed(0)

    def normal(*shape):
        return 0.02 * torch.randn(*shape, generator=generator, device=device)

    class Weight:
        def __init__(self, values):
            self.shape = values.shape
            self.values = None if args.quantize == "nf4" else values.to(dtype)
            if self.values is not None:
                return
            blocks = values.reshape(-1, BLOCK)
            absmax = blocks.abs().amax(dim=1, keepdim=True)
            levels = torch.tensor(NF4, device=device)
            codes = torch.bucketize(blocks / absmax, (levels[1:] + levels[:-1]) / 2).to(torch.uint8).flatten()
            self.packed = codes[0::2] * 16 + codes[1::2]
            self.absmax, self.levels = absmax.to(dtype), levels.to(dtype)

        def dense(self):
            if self.values is not None:
                return self.values
            codes = torch.stack((self.packed >> 4, self.packed & 15), dim=-1).flatten().int()
            # Indexing by int32 fails in PyTorch 1; this does not.
            values = torch.index_select(self.levels, 0, codes)
            return (values.reshape(-1, BLOCK) * self.absmax).reshape(self.shape)

    class Frozen(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.weight = weight
            return x @ weight.dense().t()

        @staticmethod
        def backward(ctx, dy):
            return dy @ ctx.weight.dense(), None

    trained = []

    class Linear:
        def __init__(self, inner, out):
            self.weight = Weight(normal(out, inner))
            self.a = torch.nn.Parameter(normal(args.rank, inner))
            self.b = torch.nn.Parameter(normal(out, args.rank))
            trained.extend((self.a, self.b))

        def __call__(self, x):
            return Frozen.apply(x, self.weight) + LORA_SCALE * (x @ self.a.to(dtype).t() @ self.b.to(dtype).t())

    h, kv = dims.hidden, dims.kv_heads * head_dim
    sizes = {"q": (h, h), "k": (h, kv), "v": (h, kv), "o": (h, h), "gate": (h, dims.ffn), "up": (h, dims.ffn), "down": (dims.ffn, h)}
    table = normal(dims.vocab, h).to(dtype)
    blocks = [{role: Linear(*size) for role, size in sizes.items()} for _ in range(dims.layers)]
    gain = torch.ones(h, device=device, dtype=dtype)

    half = head_dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, device=device) / half)
    angles = torch.outer(torch.arange(dims.seq, device=device).float(), frequencies)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def norm(x):
        wide = x.float()
        return (wide * (wide.pow(2).mean(dim=-1, keepdim=True) + 1e-5).rsqrt()).to(dtype) * gain

    def rotate(x):
        low, high = x[..., :half], x[..., half:]
        return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)

    def heads(x, count):
        return x.view(dims.batch, dims.seq, count, head_dim).transpose(1, 2)

    def attend(q, k, v):
        groups = dims.heads // dims.kv_heads
        if groups > 1:
            k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        if hasattr(F, "scaled_dot_product_attention"):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        hidden = torch.full((dims.seq, dims.seq), -math.inf, device=device, dtype=dtype).triu(1)
        return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(head_dim) + hidden, dim=-1) @ v

    def loss(ids, labels):
        x = table[ids]
        for block in blocks:
            y = norm(x)
            q, k = rotate(heads(block["q"](y), dims.heads)), rotate(heads(block["k"](y), dims.kv_heads))
            attended = attend(q, k, heads(block["v"](y), dims.kv_heads))
            x = x + block["o"](attended.transpose(1, 2).reshape(dims.batch, dims.seq, h))
            y = norm(x)
            x = x + block["down"](F.silu(block["gate"](y)) * block["up"](y))
        logits = (norm(x) @ table.t()).float()
        return F.cross_entropy(logits.view(-1, dims.vocab), labels.view(-1))

    return loss, trained


def main():
    args = arguments()
    given = {name: getattr(args, name) for name in ("batch", "seq", "layers") if getattr(args, name)}
    dims = SHAPES[args.shape]._replace(**given)
    if args.flops:
        print(json.dumps({"shape": args.shape, "dims": list(dims), "flop_per_step": step_flops(dims)}))
        return
    try:
        import torch
    except ImportError:
        sys.exit("no PyTorch in this Python; on Debian: apt-get install python3-torch libopenblas0-pthread (for /usr/bin/python3)")
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    loss_of, trained = build(torch, dims, args, device, dtype)
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    ids, labels = (torch.randint(dims.vocab, (dims.batch, dims.seq), device=device) for _ in range(2))
    cuda = device.type == "cuda"
    seconds = []
    for _ in range(args.warmup + args.steps):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(ids, labels)
        loss.backward()
        optimizer.step()
        value = loss.item()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    timed = seconds[args.warmup :]
    middle = statistics.median(timed)
    peak = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({
        "bench": "step", "engine": "torch", "version": torch.__version__, "device": str(device), "dtype": args.dtype, "quant": args.quantize,
        "shape": args.shape, "dims": list(dims), "rank": args.rank, "threads": torch.get_num_threads(), "loss": value,
        "step_ms_median": 1e3 * middle, "step_ms_min": 1e3 * min(timed), "step_ms_max": 1e3 * max(timed),
        "tokens_per_second": dims.batch * dims.seq / middle, "flop_per_step": step_flops(dims), "gflops": step_flops(dims) / middle / 1e9,
        "peak_bytes": peak,
    }))  # fmt: skip


main()
