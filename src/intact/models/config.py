"""Hyper-parameters, read from GGUF metadata or config.json with types, bounds and defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intact.errors import ModelError
from intact.formats import Checkpoint, Tensor

_HF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_HF_GEMMA_NAMES = _HF_NAMES | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_HF_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class Config:
    """Hyper-parameters common to the decoders that are known, under one name each."""

    architecture: str
    from_gguf: bool
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    context: int
    eps: float
    rope_base: float
    rope_local_base: float
    rope_width: int
    rope_scaling: Mapping[str, Any]
    window: int
    window_pattern: tuple[bool, ...]
    """For each layer whether it attends only to its window."""
    query_width: float
    """The scores are divided by its square root."""


class _Reader:
    """Typed access to metadata: errors name the key, what stands there and what would be right."""

    def __init__(self, checkpoint: Checkpoint, values: Mapping[str, Any], prefix: str = "") -> None:
        self.path, self.values, self.prefix = checkpoint.path, values, prefix

    def get(self, key: str) -> Any:
        return self.values.get(self.prefix + key)

    def integer(self, key: str, default: int | None = None, least: int = 1, most: int = 1 << 24) -> int:
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ModelError(f"{self.path}: {self.prefix}{key} must be an integer from {least} to {most}, found {value!r}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise ModelError(f"{self.path}: {self.prefix}{key} must be a finite number, not negative, found {value!r}")
        return float(value)


def _check(config: Config, path: object) -> Config:
    if config.heads % config.kv_heads:
        raise ModelError(f"{path}: {config.heads} heads are not a multiple of {config.kv_heads} KV heads")
    if config.head_width % 2 or config.head_width > 512:
        raise ModelError(f"{path}: the heads' width must be even and at most 512, found {config.head_width}")
    if config.rope_width % 2 or config.rope_width > config.head_width:
        raise ModelError(f"{path}: {config.rope_width} rotary dimensions do not fit heads of {config.head_width}")
    for name, size in (("width", config.width), ("hidden width", config.hidden), ("heads", config.heads * config.head_width)):
        if size > 16384 and name == "width" or size > 32768:
            raise ModelError(f"{path}: a {name} of {size} passes the proven bounds of the integer sums")
    return config


def _gguf_config(checkpoint: Checkpoint, architecture: str) -> Config:
    m = _Reader(checkpoint, checkpoint.metadata, architecture + ".")
    layers = m.integer("block_count", most=1024)
    width = m.integer("embedding_length")
    heads = m.integer("attention.head_count", most=4096)
    head_width = m.integer("attention.key_length", width // heads)
    if m.integer("attention.value_length", head_width) != head_width:
        raise ModelError(f"{checkpoint.path}: keys and values of different width are not supported")
    scaling: dict[str, Any] = {}
    kind = m.get("rope.scaling.type")
    if kind not in (None, "none"):
        scaling = {"type": kind, "factor": m.number("rope.scaling.factor", 1.0)}
        scaling["original"] = m.integer("rope.scaling.original_context_length", 1, most=1 << 30)
    window = m.integer("attention.sliding_window", 0, least=0)
    gemma = architecture == "gemma3"
    pattern = m.integer("attention.sliding_window_pattern", 6) if gemma else 1
    return Config(
        architecture=architecture,
        from_gguf=True,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=m.integer("attention.head_count_kv", heads, most=4096),
        head_width=head_width,
        hidden=m.integer("feed_forward_length"),
        context=m.integer("context_length", most=1 << 30),
        eps=m.number("attention.layer_norm_rms_epsilon"),
        rope_base=m.number("rope.freq_base", 10000.0),
        rope_local_base=m.number("rope.freq_base_swa", 10000.0),
        rope_width=m.integer("rope.dimension_count", head_width),
        rope_scaling=scaling,
        window=window if gemma else 0,
        window_pattern=tuple(gemma and window > 0 and (i + 1) % pattern != 0 for i in range(layers)),
        query_width=width / heads if gemma and layers == 62 else head_width,  # the 27B alone scales by width / heads
    )


def _hf_config(checkpoint: Checkpoint, architecture: str) -> Config:
    values = checkpoint.metadata
    values = values.get("text_config", values)
    m = _Reader(checkpoint, values)
    layers = m.integer("num_hidden_layers", most=1024)
    width = m.integer("hidden_size")
    heads = m.integer("num_attention_heads", most=4096)
    head_width = m.integer("head_dim", width // heads)
    rope = dict(m.get("rope_parameters") or {})
    own = rope.get("full_attention", rope)  # newer files hold a set for each kind of layer
    raw = dict(m.get("rope_scaling") or own)
    scaling: dict[str, Any] = {}
    kind = raw.get("rope_type", raw.get("type"))
    if kind not in (None, "default"):
        scaling = {k: v for k, v in raw.items() if k not in ("rope_type", "rope_theta")} | {"type": kind}
        scaling["original"] = raw.get("original_max_position_embeddings", values.get("max_position_embeddings"))
    gemma = architecture == "gemma3"
    window = m.integer("sliding_window", 0, least=0) if gemma else 0
    kinds = m.get("layer_types")
    every = m.integer("sliding_window_pattern", m.get("_sliding_window_pattern") or 6)
    local = [k == "sliding_attention" for k in kinds] if kinds else [(i + 1) % every != 0 for i in range(layers)]
    if len(local) != layers:
        raise ModelError(f"{checkpoint.path}: layer_types names {len(local)} layers, expected {layers}")
    local_base = rope.get("sliding_attention", {}).get("rope_theta") or m.get("rope_local_base_freq") or 10000.0
    return Config(
        architecture=architecture,
        from_gguf=False,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=m.integer("num_key_value_heads", heads, most=4096),
        head_width=head_width,
        hidden=m.integer("intermediate_size"),
        context=m.integer("max_position_embeddings", most=1 << 30),
        eps=m.number("rms_norm_eps", 1e-6),
        rope_base=float(own.get("rope_theta") or m.number("rope_theta", 10000.0)),
        rope_local_base=float(local_base),
        rope_width=head_width,
        rope_scaling=scaling,
        window=window,
        window_pattern=tuple(gemma and window > 0 and flag for flag in local),
        query_width=m.number("query_pre_attn_scalar", head_width) if gemma else head_width,
    )


def read_config(checkpoint: Checkpoint, architecture: str) -> Config:
    """The hyper-parameters of a checkpoint whose architecture is known.

    Raises
    ------
    ModelError
        If one is missing, of the wrong type or out of bounds.
    """
    read = _gguf_config if checkpoint.format == "gguf" else _hf_config
    return _check(read(checkpoint, architecture), checkpoint.path)


def canonical_tensors(checkpoint: Checkpoint, architecture: str) -> dict[str, Tensor]:
    """Tensors under GGUF's names, whatever the format."""
    if checkpoint.format == "gguf":
        return dict(checkpoint.tensors)
    names = _HF_GEMMA_NAMES if architecture == "gemma3" else _HF_NAMES
    out = {}
    for name, tensor in checkpoint.tensors.items():
        plain = name.removeprefix("language_model.")
        if match := _HF_LAYER.fullmatch(plain):
            layer, part, end = match.groups()
            if part in names:
                out[f"blk.{layer}.{names[part]}.{end}"] = tensor
        elif (stem := plain.removesuffix(".weight")) in names:
            out[names[stem] + ".weight"] = tensor
    return out
