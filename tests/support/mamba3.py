"""Mamba-3 in NumPy, token by token, as its authors' program has it (state-spaces/mamba): no code of intact.

Transformers has no class of it. `benchmarks/transformers_goldens.py` compares the tiny models with this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def logits(config: Mapping[str, Any], tensors: Mapping[str, Array], tokens: Sequence[int]) -> Array:
    """Return the logits (tokens, vocabulary) of a model of the authors' `MambaLMHeadModel`, in float64."""
    w = {name: array.astype(np.float64) for name, array in tensors.items()}
    x = w["backbone.embedding.weight"][list(tokens)]
    for i in range(config["n_layer"]):
        layer = {name.split(".", 3)[3]: array for name, array in w.items() if name.startswith(f"backbone.layers.{i}.")}
        x = x + mixer(config["ssm_cfg"], layer, normed(x, layer["norm.weight"]))
        if config.get("d_intermediate"):
            up, gate = np.split(normed(x, layer["norm2.weight"]) @ layer["mlp.fc1.weight"].T, 2, axis=-1)
            x = x + (up * silu(gate)) @ layer["mlp.fc2.weight"].T
    head = "backbone.embedding.weight" if config.get("tie_embeddings", True) else "lm_head.weight"
    return normed(x, w["backbone.norm_f.weight"]) @ w[head].T


def mixer(cfg: Mapping[str, Any], w: Mapping[str, Array], u: Array) -> Array:
    """Return what a layer adds: the recurrence of the authors' step, one input and output a head."""
    inner, heads = w["mixer.out_proj.weight"].shape[1], len(w["mixer.D"])
    width, groups, states = inner // heads, cfg.get("ngroups", 1), cfg["d_state"]
    pairs = int(states * cfg.get("rope_fraction", 0.5)) // 2
    sizes = [inner, inner, groups * states, groups * states, heads, heads, heads, pairs]
    z, x, b, c, dd_dt, dd_a, trap, angles = np.split(u @ w["mixer.in_proj.weight"].T, np.cumsum(sizes)[:-1], axis=-1)
    dt = np.logaddexp(0, dd_dt + w["mixer.dt_bias"])
    tail = np.maximum(dd_a, 0) + 1 / (1 - np.minimum(dd_a, 0))
    adt = np.minimum(-tail, -cfg.get("A_floor", 1e-4)) * dt
    share = 1 / (1 + np.exp(-trap))
    b, c = (
        np.repeat(normed(part.reshape(-1, groups, states), w[f"mixer.{name}_norm.weight"]), heads // groups, axis=1)
        + w[f"mixer.{name}_bias"][:, 0]
        for name, part in (("B", b), ("C", c))
    )
    theta = np.zeros((heads, pairs), u.dtype)
    state, last_k, last_v = np.zeros((heads, width, states), u.dtype), np.zeros_like(b[0]), np.zeros_like(x[0])
    last_v = last_v.reshape(heads, width)
    out = []
    for t in range(len(u)):
        theta = np.mod(theta + np.tanh(angles[t]) * np.pi * dt[t][:, None], 2 * np.pi).astype(u.dtype)
        q, k, v = turned(c[t], theta), turned(b[t], theta), x[t].reshape(heads, width)
        alpha = np.exp(adt[t])
        beta, gamma = (1 - share[t]) * dt[t] * alpha, share[t] * dt[t]
        state = alpha[:, None, None] * state + beta[:, None, None] * last_v[:, :, None] * last_k[:, None]
        state = state + gamma[:, None, None] * v[:, :, None] * k[:, None]
        y = np.einsum("hpn,hn->hp", state, q) + w["mixer.D"][:, None] * v
        out.append(y.reshape(-1) * silu(z[t]))
        last_k, last_v = k, v
    return np.array(out) @ w["mixer.out_proj.weight"].T


def turned(x: Array, theta: Array) -> Array:
    """Return columns (heads, states) whose first neighbouring pairs are turned by angles (heads, pairs)."""
    count, out = 2 * theta.shape[1], x.copy()
    even, odd = x[:, 0:count:2], x[:, 1:count:2]
    out[:, 0:count:2] = even * np.cos(theta) - odd * np.sin(theta)
    out[:, 1:count:2] = even * np.sin(theta) + odd * np.cos(theta)
    return out


def normed(x: Array, gain: Array) -> Array:
    """Return the RMS norm of the last axis."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + x.dtype.type(1e-5)) * gain


def silu(x: Array) -> Array:
    """Return x times its sigmoid."""
    return x / (1 + np.exp(-x))
