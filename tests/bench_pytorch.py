#!/usr/bin/env python3
"""Times the models of `make bench` in PyTorch, in turn with attnorm, and prints how many times faster which is.

    make build/bench && python3 tests/bench_pytorch.py [--models gpt2-4x64 small-16x256 ...] [--rounds 3]

Needs PyTorch (any version of 2, the newest is the measure: pip install torch), which nothing else in attnorm does. The
models are the same: pre-LayerNorm GPT-2, tanh GELU, tied head, RoPE for `small`; an update is forward, backward, clipping
by the global norm, and AdamW with decay on matrices. PyTorch runs at its best: scaled_dot_product_attention, the faster of
the fused and the foreach AdamW, eager and, where it works, torch.compile; in fp32 and in bf16 by autocast. Both sides use
random tokens, so many updates at a time, and turns are taken, so that a disturbed machine disturbs both.
"""

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

# They choose kernels of another CPU where an environment sets them for reproducible results.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError:
    sys.exit("bench_pytorch.py: PyTorch is not installed for this Python; 'pip install torch' installs it")

# layers, heads, channels, longest sequence, vocabulary, RoPE
PRESETS = {
    "gpt2": (12, 12, 768, 1024, 50257, False),
    "small": (4, 4, 128, 256, 256, True),
    "char": (6, 6, 384, 256, 256, False),
}
SHAPES = {
    "gpt2-4x64": ("gpt2", 4, 64),
    "gpt2-4x1024": ("gpt2", 4, 1024),
    "small-12x64": ("small", 12, 64),
    "small-16x256": ("small", 16, 256),
    "char-4x256": ("char", 4, 256),
}
SAMPLE_SECONDS = 0.5  # a sample takes as many updates as fit, at least one


class Block(nn.Module):
    def __init__(self, heads, channels):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.fc, self.fc_proj = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x, rope):
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.heads, C // self.heads).transpose(1, 2) for y in self.qkv(self.ln_1(x)).chunk(3, -1))
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        attention = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(attention.transpose(1, 2).reshape(B, T, C))
        return x + self.fc_proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


def rotate(x, cos, sin):  # pairs (i, i + HS/2), as in GPT-NeoX
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1).to(x.dtype)


class GPT(nn.Module):
    def __init__(self, layers, heads, channels, length, vocabulary, rope):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, channels)
        self.wpe = None if rope else nn.Embedding(length, channels)
        self.blocks = nn.ModuleList(Block(heads, channels) for _ in range(layers))
        self.ln_f = nn.LayerNorm(channels)
        for parameter in self.parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02)
        if rope:
            half = channels // heads // 2
            angles = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(half) / half))
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens, targets):
        T = tokens.shape[1]
        x = self.wte(tokens)
        rope = None
        if self.wpe is None:
            rope = self.cos[:T], self.sin[:T]
        else:
            x = x + self.wpe(torch.arange(T))
        for block in self.blocks:
            x = block(x, rope)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def adamw(model, **how):
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-9, betas=(0.9, 0.95), **how)


def faster_adamw(model):
    """The faster of the two, and its name."""
    best = None
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for name in ("fused", "foreach"):
        try:
            optimizer = adamw(model, **{name: True})
            optimizer.step()
            seconds = min(timed(optimizer.step) for _ in range(3))
        except RuntimeError:  # versions before 2.4 have no fused AdamW for CPUs
            continue
        if best is None or seconds < best[0]:
            best = seconds, name
        del optimizer
    return adamw(model, **{best[1]: True}), best[1]


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Trainer:
    """One model, trained in any of the variants."""

    def __init__(self, preset, B, T):
        torch.manual_seed(1)
        vocabulary = PRESETS[preset][4]
        self.model = GPT(*PRESETS[preset])
        self.tokens, self.targets = (torch.randint(vocabulary, (B, T)) for _ in range(2))
        self.optimizer, self.adamw_name = faster_adamw(self.model)
        self.functions = {"eager": self.model}

    def compile(self):
        """Why torch.compile does not work here, None where it does."""
        if not hasattr(torch, "compile"):
            return "this version has no torch.compile"
        try:
            self.functions["compiled"] = torch.compile(self.model)
            for precision in ("fp32", "bf16"):
                self.step("compiled", precision)
        except Exception as error:  # a missing compiler shows up as one of many classes
            del self.functions["compiled"]
            return str(error).strip().splitlines()[0][:200]
        return None

    def step(self, engine, precision):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = self.functions[engine](self.tokens, self.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(loss.item()):
            sys.exit("bench_pytorch.py: the loss is not finite")

    def sample(self, engine, precision):
        """Milliseconds of an update."""
        once = timed(lambda: self.step(engine, precision))
        if once > SAMPLE_SECONDS:
            return 1000 * timed(lambda: self.step(engine, precision))
        steps = max(2, int(SAMPLE_SECONDS / once))
        return 1000 * timed(lambda: [self.step(engine, precision) for _ in range(steps)]) / steps


def sample_attnorm(bench, shape, threads):
    """attnorm's records of an update, one for each precision."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
        command = [bench, "--only", "steps", "--models", shape, "--normalizers", "softmax"]
        command += ["--seconds", "1", "--threads", str(threads), "--out", out.name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit("bench_pytorch.py: " + (done.stderr.strip() or "'" + " ".join(command) + "' failed"))
        with open(out.name) as lines:
            return [record for record in map(json.loads, lines) if record["bench"] == "step"]


def bench_shape(shape, arguments, out):
    preset, B, T = SHAPES[shape]
    trainer = Trainer(preset, B, T)
    problem = trainer.compile()
    if problem:
        print(f"  {shape}: torch.compile does not work here: {problem}")
    variants = [(engine, precision) for engine in trainer.functions for precision in ("fp32", "bf16")]
    theirs = {variant: [] for variant in variants}
    ours = {"fp32": [], "bf16": []}
    for variant in variants:
        trainer.step(*variant)
    for _ in range(arguments.rounds):
        for variant in variants:
            theirs[variant].append(trainer.sample(*variant))
        for record in sample_attnorm(arguments.bench, shape, arguments.threads):
            ours[record["precision"]].append(record)

    for precision in ("fp32", "bf16"):
        our_best = max(ours[precision], key=lambda record: record["tokens_per_s"])
        flop = our_best["gflops"] * our_best["ms_best"] * 1e6
        roof = max(record["roof_gflops"] for record in ours[precision])
        show(shape, precision, "attnorm", our_best["ms_best"],
             statistics.median(record["ms_median"] for record in ours[precision]), our_best["tokens_per_s"],
             flop / our_best["ms_best"] / 1e6 / roof, "")
        for engine, of in variants:
            if of != precision:
                continue
            samples = theirs[engine, precision]
            best = min(samples)
            tokens = B * T / best * 1000
            ratio = our_best["tokens_per_s"] / tokens
            record = {
                "bench": "pytorch", "model": preset, "B": B, "T": T, "normalizer": "softmax", "precision": precision,
                "threads": arguments.threads, "ms_best": best, "ms_median": statistics.median(samples),
                "tokens_per_s": tokens, "gflops": flop / best / 1e6, "roof_gflops": roof,
                "roof_fraction": flop / best / 1e6 / roof, "peak_bytes": None, "engine": engine,
                "adamw": trainer.adamw_name, "torch": torch.__version__, "attnorm_tokens_per_s": our_best["tokens_per_s"],
                "attnorm_over_pytorch": ratio,
            }
            out.write(json.dumps(record) + "\n")
            out.flush()
            show("", "", f"PyTorch {engine}", best, record["ms_median"], tokens, record["roof_fraction"], f"{ratio:.2f}")


def show(shape, precision, engine, best, median, tokens, fraction, ratio):
    digits = 0 if best >= 1000 else 1
    times = f"{best:.{digits}f} ({median:.{digits}f})"
    print(f"  {shape:14}{precision:6}{engine:18}{times:>18}{tokens:11.0f}{fraction:9.2f}{ratio:>15}".rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bench", help="attnorm's benchmark (default: %(default)s)")
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES), metavar="MODEL",
                        help="any of " + ", ".join(SHAPES))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: %(default)s")
    parser.add_argument("--out", default="build/bench.jsonl", help="file to append to (default: %(default)s)")
    arguments = parser.parse_args()
    if not os.access(arguments.bench, os.X_OK):
        sys.exit(f"bench_pytorch.py: --bench is '{arguments.bench}'; 'make build/bench' makes it")
    torch.set_num_threads(arguments.threads)

    blas = [part.strip(" -") for part in torch.__config__.show().splitlines() if "Math Kernel" in part or "MKL-DNN" in part]
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    print(f"PyTorch {torch.__version__}, Python {platform.python_version()}, {arguments.threads} threads, "
          f"BLAS {found[1] if found else 'unknown'}, {torch.backends.cpu.get_cpu_capability()}")
    for part in blas:
        print("  " + part)
    print("Best (median), in turn; `of roof`: matrices alone; `attnorm/its`: tokens per second, best over best")
    print(f"  {'model-BxT':14}{'':6}{'':18}{'ms':>18}{'tokens/s':>11}{'of roof':>9}{'attnorm/its':>15}")
    with open(arguments.out, "a") as out:
        for shape in arguments.models:
            bench_shape(shape, arguments, out)


if __name__ == "__main__":
    main()
