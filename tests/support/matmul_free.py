"""The MatMul-free LM in float64, written from the authors' program: Transformers has no class of it.

Source: ridgerchu/matmulfreellm, `mmfreelm/models/hgrn_bit`, `mmfreelm/layers/hgrn_bit.py`, `mmfreelm/ops/bitnet.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Floats = np.ndarray


def rms_norm(x: Floats, gain: Floats, eps: float) -> Floats:
    """x / rms(x), times the gain."""
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps) * gain


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def silu(x: Floats) -> Floats:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def ternary(w: Floats) -> Floats:
    """clip(round(w / mean|w|), -1, 1) * mean|w|, over the whole matrix."""
    scale = max(np.abs(w).mean(), 1e-5)
    return np.clip(np.rint(w / scale), -1, 1) * scale


def row_codes(x: Floats) -> Floats:
    """Rows rounded to 8 bits under one scale each, as the authors' products read them."""
    scale = 127 / np.maximum(np.abs(x).max(-1, keepdims=True), 1e-5)
    return np.clip(np.rint(x * scale), -128, 127) / scale


def recurrence(x: Floats, forget: Floats, bound: Floats | float) -> Floats:
    """h = f * h + (1 - f) * silu(x) from position to position, with f = b + (1 - b) * sigmoid(forget)."""
    value, f = silu(x), bound + (1 - bound) * sigmoid(forget)
    states, h = np.empty_like(value), np.zeros(value.shape[1])
    for t in range(len(value)):
        states[t] = h = f[t] * h + (1 - f[t]) * value[t]
    return states


def logits(
    config: Mapping[str, Any], values: Mapping[str, Floats], tokens: Sequence[int], rounded: bool = False
) -> Floats:
    """The logits of a text, float64 (tokens, vocabulary).

    Parameters
    ----------
    config, values
        config.json, and the tensors under their names in safetensors.
    rounded : bool
        If true, rows that enter products are rounded to 8 bits, as in training; else they stay as they are.
    """
    w = {name: np.asarray(array, np.float64) for name, array in values.items()}
    eps = config["rms_norm_eps"]

    def bit_linear(x: Floats, name: str) -> Floats:
        x = rms_norm(x, w[name + ".norm.weight"], 1e-8)
        stored = w.get(name + ".weight", w["model.embeddings.weight"])  # a tied head has none of its own
        return (row_codes(x) if rounded else x) @ ternary(stored).T

    layers = config["num_hidden_layers"]
    bounds = np.zeros((layers, config["hidden_size"]))
    if config.get("use_lower_bound", True):
        e = np.exp(w["model.lower_bounds"] - w["model.lower_bounds"].max(0))
        shares = e / e.sum(0)
        bounds = shares.cumsum(0) - shares[0]
    x = w["model.embeddings.weight"][list(tokens)]
    for i in range(layers):
        p = f"model.layers.{i}."
        y = rms_norm(x, w[p + "attn_norm.weight"], eps)
        states = recurrence(bit_linear(y, p + "attn.i_proj"), bit_linear(y, p + "attn.f_proj"), bounds[i])
        gate = rms_norm(bit_linear(y, p + "attn.g_proj"), w[p + "attn.g_norm.weight"], eps)
        x = x + bit_linear(gate * silu(states), p + "attn.o_proj")
        both = bit_linear(rms_norm(x, w[p + "mlp_norm.weight"], eps), p + "mlp.gate_proj")
        gate, up = np.split(both, 2, axis=-1)
        x = x + bit_linear(silu(gate) * up, p + "mlp.down_proj")
    return bit_linear(rms_norm(x, w["model.norm.weight"], eps), "lm_head")
