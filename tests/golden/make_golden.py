#!/usr/bin/env python3
"""Makes the golden values that tests/test_golden.cpp compares the model with: losses, gradients and a few AdamW updates
of tiny GPTs, by PyTorch's autograd in float64 from the formulas alone. Nothing here is taken from the C++ code or from
its derivatives.

    pip install torch numpy        (or Debian's python3-torch and python3-numpy; 1.13 and 2.x both do)
    python3 tests/golden/make_golden.py

writes, beside this file,
    cases.json             shapes; for every case its tokens, loss and conditioning; the optimizer's run
    <file>.safetensors     parameters of the cases that name this file, and <normalizer>.gradient of each: the gradients
                           of all parameters one after another, in the order of the model (`names_of` below)
    optimizer.safetensors  the parameters after the optimizer's run
The tests only read the files; they need no Python. Another version of PyTorch may choose other tokens for a case (see
below); for the same tokens versions agree to 1e-14.

Every case is kept away from the places where its formula is discontinuous or where a sum nearly vanishes: there float32
and float64 differ by nature. The tokens of a case are drawn until `tame` says so of every row of attention, and until
PyTorch's own float32 agrees with its float64 more closely than the tests ask of the C++ code.
"""

import json
import math
import os
import struct

import numpy as np
import torch

L, NH, C, T, V, B = 2, 2, 8, 7, 11, 2
HS = C // NH
HERE = os.path.dirname(os.path.abspath(__file__))

# --- the normalizers: weights of one row of visible keys, in the last dimension of z ----------------------------------

EPS = 1e-6

PHI = {
    "sinmax": lambda z: 1 + torch.sin(10 * z),
    "sinmax_signed": torch.sin,
    "cosmax": torch.cos,
    "sin2max": lambda z: torch.sin(z) ** 2,
    "sin2max_shifted": lambda z: torch.sin(z + math.pi / 4) ** 2,
    "sirenmax": lambda z: (1 + torch.sin(z)) / (2 * torch.clamp(1 - torch.sin(z), min=1e-3)),
}


def ratio(phi):
    total = phi.sum(-1, keepdim=True)
    sign = 1 - 2 * (total < 0).to(total.dtype)
    return phi / (total + sign * EPS)


def standardized(z):
    if z.shape[-1] == 1:
        return z
    return (z - z.mean(-1, keepdim=True)) / torch.sqrt(z.var(-1, unbiased=True, keepdim=True) + 1e-5)


def weights(name, z, scale, bias, length_scale):
    """z (B,NH,n); scale, bias (NH,1), length_scale (T): what the forms that have them learn."""
    n = z.shape[-1]
    if name.startswith("norm_"):
        return weights(name[len("norm_"):], standardized(z), scale, bias, length_scale)
    if name in PHI:
        return ratio(PHI[name](z))
    if name == "softmax":
        return torch.softmax(z, -1)
    if name == "sin_softmax":
        return torch.softmax(torch.sin(z), -1)
    if name == "ssmax":
        return torch.softmax(scale * math.log(n) * z, -1)
    if name == "ssmax_fixed":
        return torch.softmax(math.log(n) * z, -1)
    if name == "ssmax_bias":
        return torch.softmax((scale * math.log(n) + bias) * z, -1)
    if name == "learned_scale":
        return torch.softmax((scale * length_scale[n - 1] + bias) * z, -1)
    p = torch.softmax(z, -1)
    low, high = z.min(-1, keepdim=True)[0], z.max(-1, keepdim=True)[0]  # the gradient goes to one key (amin: to all)
    if name == "sa_softmax":
        low, high = torch.clamp(low, max=0), torch.clamp(high, min=0)
        return (z - low) / (high - low + EPS) * p
    if name == "sa_softmax_product":
        return z * p
    if name == "sa_softmax_shift":
        return (z - low) * p
    if name == "sa_softmax_range":
        return (z - low) / (high - low + EPS) * p
    raise ValueError(name)


NORMALIZERS = (
    ["softmax", "ssmax", "ssmax_fixed", "ssmax_bias"]
    + ["sa_softmax", "sa_softmax_product", "sa_softmax_shift", "sa_softmax_range"]
    + ["sinmax", "sinmax_signed", "cosmax", "sin2max", "sin2max_shifted", "sirenmax", "sin_softmax"]
    + ["norm_softmax", "norm_sinmax", "norm_cosmax", "norm_sin2max", "norm_sin2max_shifted", "norm_sirenmax"]
    + ["norm_sin_softmax"]
    + ["learned_scale"]
)
LEARNED = {"ssmax": ["scale"], "ssmax_bias": ["scale", "bias"], "learned_scale": ["scale", "bias"]}

LENGTH_SCALE = "normalizer.length_scale"  # one number for every n, the same in all layers and heads

# --- the GPT ----------------------------------------------------------------------------------------------------------


def names_of(normalizer, position, tied):
    """Every parameter and its shape, in the order of the model."""
    names = {"wte.weight": (V, C)}
    if position == "learned":
        names["wpe.weight"] = (T, C)
    if normalizer == "learned_scale":
        names[LENGTH_SCALE] = (T,)
    for l in range(L):
        h = f"h.{l}."
        names[h + "ln_1.weight"] = names[h + "ln_1.bias"] = (C,)
        names[h + "attn.c_attn.weight"], names[h + "attn.c_attn.bias"] = (C, 3 * C), (3 * C,)
        for scalar in LEARNED.get(normalizer, []):
            names[h + "attn.normalizer." + scalar] = (NH,)
        names[h + "attn.c_proj.weight"], names[h + "attn.c_proj.bias"] = (C, C), (C,)
        names[h + "ln_2.weight"] = names[h + "ln_2.bias"] = (C,)
        names[h + "mlp.c_fc.weight"], names[h + "mlp.c_fc.bias"] = (C, 4 * C), (4 * C,)
        names[h + "mlp.c_proj.weight"], names[h + "mlp.c_proj.bias"] = (4 * C, C), (C,)
    names["ln_f.weight"] = names["ln_f.bias"] = (C,)
    if not tied:
        names["lm_head.weight"] = (V, C)
    return names


def layer_norm(x, gain, bias):
    mean = x.mean(-1, keepdim=True)
    var = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5) * gain + bias


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rotate(x):
    """RoPE as in GPT-NeoX: channels i and i + HS/2 of a head are one complex number, turned by t 10000^(-2i/HS)."""
    t = torch.arange(x.shape[-2], dtype=x.dtype)
    i = torch.arange(HS // 2, dtype=x.dtype)
    turn = torch.exp(1j * t[:, None] * 10000 ** (-2 * i / HS))
    turned = torch.complex(x[..., : HS // 2], x[..., HS // 2 :]) * turn
    return torch.cat([turned.real, turned.imag], -1)


def attention(p, h, x, normalizer, position, rows):
    heads = lambda y: y.view(B, T, NH, HS).transpose(1, 2)
    q, k, v = [heads(y) for y in (x @ p[h + "c_attn.weight"] + p[h + "c_attn.bias"]).split(C, -1)]
    if position == "rope":
        q, k = rotate(q), rotate(k)
    scale, bias = [p[h + "normalizer." + s][:, None] for s in ("scale", "bias")]
    length_scale = p[LENGTH_SCALE]
    out = []
    for t in range(T):
        z = (k[:, :, : t + 1] @ q[:, :, t, :, None])[..., 0] / math.sqrt(HS)
        if position == "alibi":
            slopes = torch.tensor([2.0 ** (-8 * (head + 1) / NH) for head in range(NH)], dtype=z.dtype)
            z = z - slopes[:, None] * (t - torch.arange(t + 1, dtype=z.dtype))
        rows.append(z.detach())
        out.append((weights(normalizer, z, scale, bias, length_scale)[..., None] * v[:, :, : t + 1]).sum(-2))
    return torch.stack(out, 2).transpose(1, 2).reshape(B, T, C) @ p[h + "c_proj.weight"] + p[h + "c_proj.bias"]


def loss_of(p, tokens, normalizer, position, tied):
    """tokens (B,T+1). Returns the mean loss in nats and the scores of every row of attention."""
    rows = []
    x = p["wte.weight"][tokens[:, :-1]]
    if position == "learned":
        x = x + p["wpe.weight"]
    for l in range(L):
        h = f"h.{l}."
        y = layer_norm(x, p[h + "ln_1.weight"], p[h + "ln_1.bias"])
        x = x + attention(p, h + "attn.", y, normalizer, position, rows)
        y = layer_norm(x, p[h + "ln_2.weight"], p[h + "ln_2.bias"])
        y = gelu(y @ p[h + "mlp.c_fc.weight"] + p[h + "mlp.c_fc.bias"])
        x = x + y @ p[h + "mlp.c_proj.weight"] + p[h + "mlp.c_proj.bias"]
    x = layer_norm(x, p["ln_f.weight"], p["ln_f.bias"])
    logits = x @ p["wte.weight" if tied else "lm_head.weight"].T
    log_p = torch.log_softmax(logits, -1)
    return -log_p.gather(-1, tokens[:, 1:, None]).mean(), rows


# --- cases ------------------------------------------------------------------------------------------------------------


def draw_parameters(seed, position, tied):
    """Random numbers that float32 holds exactly; weights large enough for attention to matter."""
    random = np.random.RandomState(seed)
    parameters = {}
    shapes = names_of("ssmax_bias", position, tied)
    shapes[LENGTH_SCALE] = (T,)
    for name, shape in shapes.items():
        x = random.standard_normal(shape)
        if name.endswith(("normalizer.scale", LENGTH_SCALE)) or name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
            x = 1 + 0.2 * x
        elif len(shape) == 1:
            x = 0.2 * x
        else:
            x = 0.35 * x
        parameters[name] = torch.from_numpy(x.astype(np.float32).astype(np.float64))
    return parameters


def conditioning(normalizer, z):
    """sum |phi| / |S| of every row: by how much rounding grows in a ratio form; 1 for the others."""
    inner = normalizer.replace("norm_", "")
    if inner not in PHI:
        return torch.ones(())
    phi = PHI[inner](standardized(z) if normalizer.startswith("norm_") else z)
    return phi.abs().sum(-1) / phi.sum(-1).abs()


def tame(normalizer, z):
    """Whether float32 can be expected to agree with float64 in these rows."""
    u = standardized(z) if normalizer.startswith("norm_") else z
    inner = normalizer.replace("norm_", "")
    n = z.shape[-1]
    good = conditioning(normalizer, z).max() < 10
    if inner in PHI:
        # Far above eps; and above the rounding errors of phi, except where the only key has weight 1 whatever its phi.
        good &= PHI[inner](u).sum(-1).abs().min() > (0.25 if n > 1 else 0.02)
    if inner == "sirenmax":
        good &= (1 - torch.sin(u)).min() > 0.005  # no key at the pole
    if normalizer.startswith("norm_") and n > 1:
        good &= z.var(-1).min() > 0.01
    if normalizer.startswith("sa_") and n > 1:  # one clear minimum and maximum
        ordered = z.sort(-1)[0]
        good &= (ordered[..., 1] - ordered[..., 0]).min() > 1e-3
        good &= (ordered[..., -1] - ordered[..., -2]).min() > 1e-3
    if normalizer == "sa_softmax":  # the clip at 0
        good &= z.min(-1)[0].abs().min() > 0.01 and z.max(-1)[0].abs().min() > 0.01
    return bool(good)


def gradients_of(parameters, tokens, normalizer, position, tied, dtype):
    p = {name: x.to(dtype, copy=True).requires_grad_(True) for name, x in parameters.items()}
    loss, _ = loss_of(p, tokens, normalizer, position, tied)
    loss.backward()
    return loss, [p[name].grad.double().reshape(-1) for name in names_of(normalizer, position, tied)]


def make_case(parameters, normalizer, position, tied):
    random = np.random.RandomState(NORMALIZERS.index(normalizer))
    case = (normalizer, position, tied)
    for _ in range(20000):
        tokens = torch.from_numpy(random.randint(0, V, (B, T + 1)))
        with torch.no_grad():
            _, rows = loss_of(parameters, tokens, *case)
        if not all(tame(normalizer, z) for z in rows):
            continue
        worst = max(conditioning(normalizer, z).max().item() for z in rows)
        loss, gradients = gradients_of(parameters, tokens, *case, torch.float64)
        _, in_float32 = gradients_of(parameters, tokens, *case, torch.float32)
        if all((x - y).norm() < 2e-5 * worst * y.norm() for x, y in zip(in_float32, gradients)):
            break
    else:
        raise RuntimeError("no tame tokens: draw other parameters")
    gradient = torch.cat(gradients)
    about = {
        "normalizer": normalizer,
        "position": position,
        "tied": tied,
        "tokens": tokens.tolist(),
        "loss": loss.item(),
        "conditioning": worst,
    }
    return about, gradient


# AdamW with clipping, warm-up and cosine, on `parameters` with softmax and RoPE; update k takes the windows kB .. kB + B-1
# of one stream of tokens, as `train --order sequential` does. Softmax without RoPE would not do: the
# gradient of the keys' bias would be 0 but for rounding, and Adam divides by it.
def run_optimizer(parameters):
    steps, warmup, lr, min_lr, clip, decay = 6, 2, 0.01, 0.001, 2.5, 0.1
    names = names_of("softmax", "rope", True)
    p = {name: x.clone() for name, x in parameters.items()}
    for name in names:
        p[name].requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p[n] for n in names if p[n].dim() >= 2], "weight_decay": decay},
            {"params": [p[n] for n in names if p[n].dim() < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    random = np.random.RandomState(99)
    stream = torch.from_numpy(random.randint(0, V, steps * B * T + 1))
    windows = stream.unfold(0, T + 1, T).view(steps, B, T + 1)  # window w: tokens w T .. (w + 1) T, both included
    losses, norms, rates = [], [], []
    for k in range(steps):
        if k < warmup:
            rate = lr * (k + 1) / warmup
        else:
            rate = min_lr + (lr - min_lr) * (1 + math.cos(math.pi * (k - warmup) / (steps - warmup))) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss, _ = loss_of(p, windows[k], "softmax", "rope", True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p[n] for n in names], clip)
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
        rates.append(rate)
    assert min(norms) < clip < max(norms), norms  # both sides of the clipping
    about = {
        "parameters": "rope",
        "normalizer": "softmax",
        "position": "rope",
        "steps": steps,
        "warmup": warmup,
        "lr": lr,
        "min_lr": min_lr,
        "clip": clip,
        "decay": decay,
        "beta1": 0.9,
        "beta2": 0.95,
        "stream": stream.tolist(),
        "losses": losses,
        "gradient_norms": norms,
        "learning_rates": rates,
    }
    return about, {name: p[name].detach() for name in names}


# --- files ------------------------------------------------------------------------------------------------------------


def write_safetensors(name, tensors):
    header, data = {}, b""
    for key, x in tensors.items():
        raw = x.numpy().astype("<f4").tobytes()
        header[key] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(HERE, name + ".safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.set_num_threads(1)
    files = [(p, p, True, NORMALIZERS) for p in ("learned", "rope", "alibi", "none")]
    files.append(("untied", "learned", False, ["softmax", "ssmax_bias", "sa_softmax", "sinmax", "norm_cosmax"]))
    cases = []
    for seed, (file, position, tied, normalizers) in enumerate(files):
        tensors = draw_parameters(seed, position, tied)
        parameters = dict(tensors)
        if file == "rope":
            optimizer, updated = run_optimizer(parameters)
            write_safetensors("optimizer", updated)
        for normalizer in normalizers:
            about, gradient = make_case(parameters, normalizer, position, tied)
            cases.append({"file": file, **about})
            tensors[normalizer + ".gradient"] = gradient
            print(f"{file:8} {normalizer:22} loss {about['loss']:.6f}  conditioning {about['conditioning']:.2f}", flush=True)
        write_safetensors(file, tensors)
    with open(os.path.join(HERE, "cases.json"), "w") as out:
        shape = {"L": L, "NH": NH, "C": C, "T": T, "V": V, "B": B}
        lines = ",\n".join(json.dumps(case) for case in cases)
        out.write(f'{{"shape": {json.dumps(shape)},\n"cases": [\n{lines}],\n"optimizer": {json.dumps(optimizer)}}}\n')


if __name__ == "__main__":
    main()
