"""Measure the loss of KV cache formats not implemented as codecs, in floats: XQuant and MiniCache against KIVI.

    python benchmarks/cache_forms.py smollm2-135m qwen-coder-0.5b --windows 8

Transformers computes in float32. In each window, the cache of the first half is replaced by a format's reconstruction,
and the second half is read with it. Prints the mean of KL(exact || format) in nats there, with its 95% interval over
windows. Bits are per number in the cache, without scales and offsets; quantisers are asymmetric, with a scale and an
offset for each group of 128.

- kivi: keys by channel over tokens, values by token (arXiv 2402.02750).
- xquant: the input of the products, projected onto the left singular vectors of their weights, which takes as many
  numbers as keys and values do; for keys by channel, for values by token (arXiv 2508.10395).
- xquant-cl: the same for the differences between layers, projected for both products together; the third layer's input
  in full, with 4 bits.
- minicache: from the middle layer upwards, pairs of layers share one direction of each key and value, at 0.6 of the
  angle between them; pairs more than 95% of the way to the largest angle are kept (arXiv 2405.14366).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from float_model import transformers_model
from transformers import DynamicCache

from intact._base.exact import mean
from intact.stats.intervals import AMOUNTS, clustered

GROUP, ANGLE, KEPT = 128, 0.6, 0.05
Pair = tuple[torch.Tensor, torch.Tensor]
"""Keys before rotation, and values, of a layer: (tokens, heads * width) each."""


def rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Round rows to the given number of bits, in groups of columns."""
    parts = []
    for part in x.split(GROUP, dim=1):
        low, high = part.amin(1, keepdim=True), part.amax(1, keepdim=True)
        step = ((high - low) / (2**bits - 1)).clamp_min(1e-12)
        parts.append((part - low).div(step).round().mul(step).add(low))
    return torch.cat(parts, dim=1)


def by_channel(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Round columns in groups of rows."""
    return rounded(x.T, bits).T


@cache
def decomposed(*products: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the left singular vectors of the products' concatenated weights, and the map from them to the results."""
    weight = torch.cat([product.weight for product in products]).T
    left, sizes, right = torch.linalg.svd(weight, full_matrices=False)
    return left, sizes[:, None] * right


def kivi(model: Any, inputs: list[torch.Tensor], exact: list[Pair], bits: int) -> list[Pair]:
    return [(by_channel(key, bits), rounded(value, bits)) for key, value in exact]


def xquant(model: Any, inputs: list[torch.Tensor], exact: list[Pair], bits: int) -> list[Pair]:
    found = []
    for x, layer in zip(inputs, model.model.layers, strict=True):
        parts = []
        for product, grid in ((layer.self_attn.k_proj, by_channel), (layer.self_attn.v_proj, rounded)):
            left, right = decomposed(product)
            result = grid(x @ left, bits) @ right
            parts.append(result if product.bias is None else result + product.bias)
        found.append((parts[0], parts[1]))
    return found


def xquant_cl(model: Any, inputs: list[torch.Tensor], exact: list[Pair], bits: int) -> list[Pair]:
    found: list[Pair] = []
    sums = rounded(inputs[2], 4)
    for number, (x, layer) in enumerate(zip(inputs, model.model.layers, strict=True)):
        products = (layer.self_attn.k_proj, layer.self_attn.v_proj)
        if number < 3:
            base = rounded(x, 4)
        else:
            left, _ = decomposed(*products)
            sums = sums + rounded((x - sums) @ left, bits) @ left.T
            base = sums
        key, value = (product(base) for product in products)
        found.append((key, value))
    return found


def minicache(model: Any, inputs: list[torch.Tensor], exact: list[Pair], bits: int) -> list[Pair]:
    found = list(exact)
    heads = model.config.num_key_value_heads
    for high in range(len(exact) // 2 + 1, len(exact), 2):
        keys, values = (merged(*pair, heads) for pair in zip(exact[high - 1], exact[high], strict=True))
        found[high - 1], found[high] = (keys[0], values[0]), (keys[1], values[1])
    return found


def merged(x: torch.Tensor, y: torch.Tensor, heads: int) -> Pair:
    """Return two layers' keys, or values, with a shared direction in each head."""
    a, b = (one.reshape(len(one), heads, -1) for one in (x, y))
    long_a, long_b = (one.norm(dim=2, keepdim=True) for one in (a, b))
    u, v = a / long_a, b / long_b
    angle = (u * v).sum(2, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).arccos()
    way = (torch.sin((1 - ANGLE) * angle) * u + torch.sin(ANGLE * angle) * v) / torch.sin(angle)
    least, most = angle.amin(0, keepdim=True), angle.amax(0, keepdim=True)
    kept = angle > most - KEPT * (most - least)
    return torch.where(kept, a, way * long_a).reshape(x.shape), torch.where(kept, b, way * long_b).reshape(y.shape)


FORMS: dict[str, tuple[Callable[..., list[Pair]], tuple[int, ...]]] = {
    "kivi": (kivi, (4, 3, 2)),
    "xquant": (xquant, (4, 3, 2)),
    "xquant-cl": (xquant_cl, (4, 3, 2)),
    "minicache": (minicache, (32,)),
}


@contextmanager
def recorded(model: Any) -> Iterator[tuple[list[torch.Tensor], list[Pair]]]:
    """Record the inputs and results of the key and value products of each layer in a forward pass."""
    inputs: list[torch.Tensor] = []
    pairs: list[Pair] = []
    keys: list[torch.Tensor] = []

    def key(module: Any, given: Any, result: torch.Tensor) -> None:
        inputs.append(given[0][0])
        keys.append(result[0])

    def value(module: Any, given: Any, result: torch.Tensor) -> None:
        pairs.append((keys[-1], result[0]))

    hooks = []
    for layer in model.model.layers:
        hooks += [
            layer.self_attn.k_proj.register_forward_hook(key),
            layer.self_attn.v_proj.register_forward_hook(value),
        ]
    try:
        yield inputs, pairs
    finally:
        for hook in hooks:
            hook.remove()


def cache_of(model: Any, pairs: list[Pair]) -> DynamicCache:
    """Build a model's cache from keys, which are rotated here, and values."""
    found = DynamicCache()
    config, count = model.config, len(pairs[0][0])
    positions = torch.arange(count)[None]
    for number, (key, value) in enumerate(pairs):
        shape = (1, count, config.num_key_value_heads, -1)
        keys, values = key.reshape(shape).transpose(1, 2), value.reshape(shape).transpose(1, 2)
        cos, sin = model.model.rotary_emb(keys, positions)
        half = keys.shape[-1] // 2
        turned = torch.cat([-keys[..., half:], keys[..., :half]], dim=-1)
        found.update(keys * cos[:, None] + turned * sin[:, None], values, number)
    return found


@torch.no_grad()
def divergences(model: Any, tokens: torch.Tensor) -> dict[str, float]:
    """Return the mean KL of each format on the second half of a window."""
    half = len(tokens) // 2
    first, second = tokens[None, :half], tokens[None, half:]
    with recorded(model) as (inputs, exact):
        model(first)

    def read(pairs: list[Pair]) -> torch.Tensor:
        return model(second, past_key_values=cache_of(model, pairs)).logits[0].double().log_softmax(1)

    whole = read(exact)
    assert torch.allclose(whole, model(tokens[None]).logits[0, half:].double().log_softmax(1), atol=1e-2)
    found = {}
    for name, (form, widths) in FORMS.items():
        for bits in widths:
            other = read(form(model, inputs, exact, bits))
            found[f"{name} {bits}"] = mean((whole.exp() * (whole - other)).sum(1).tolist())
    return found


def measure(path: Path, options: argparse.Namespace) -> None:
    """Measure all formats on a model, and print them."""
    model = transformers_model(path)
    size, text = options.context, options.text.read_text("utf-8")
    windows = common.windows_of(common.tokenizer_of(path), text, size, options.windows)
    rows = [divergences(model, torch.tensor(window)) for window in windows]
    print(f"\n{path.name}, {options.windows} windows of {size} of {options.text.name}\n")
    print("| form | bits | KL |\n|---|---|---|")
    for label in rows[0]:
        row = clustered(np.array([[one[label]] for one in rows]), support=AMOUNTS)
        name, _, bits = label.rpartition(" ")
        print(f"| {name} | {bits} | {row.estimate:.4f} [{row.low:.4f}, {row.high:.4f}] |", flush=True)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--windows", type=int, default=8)
    options = parser.parse_args()
    for path in options.models:
        measure(path, options)


if __name__ == "__main__":
    main()
