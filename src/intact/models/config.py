"""Hyper-parameters, read from GGUF metadata or config.json with types, bounds and defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np

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
_HF_UNUSED = re.compile(r"(model\.)?(vision_tower|multi_modal_projector)\..+|.*\.rotary_emb\.inv_freq")
"""What a text model may leave aside: a picture's tower, and the frequencies that old checkpoints store again."""

MOST_CONTEXT = 1 << 19
"""Positions for which the sums of attention are proven (docs/numerics.md, section 7)."""

# Features that would change the answer and that no operation here has: key, and the values that mean their absence.
_GGUF_REFUSED: Mapping[str, tuple[object, ...]] = {
    "expert_count": (0,),
    "attn_logit_softcapping": (0.0,),
    "final_logit_softcapping": (0.0,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.scale": (0.0,),
    "attention.temperature_length": (0,),
    "embedding_scale": (0.0, 1.0),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "use_parallel_residual": (False,),
    "rope.scaling.attn_factor": (0.0, 1.0),
    "rope.scaling.yarn_log_multiplier": (0.0,),
    "pooling_type": (0,),
}
_HF_REFUSED: Mapping[str, tuple[object, ...]] = {
    "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,),
    "num_experts": (0,),
    "num_local_experts": (0,),
    "partial_rotary_factor": (1,),
    "quantization_config": (),
    "use_bidirectional_attention": (False,),
    "use_sliding_window": (False,),
}

_HF_GEMMA_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}
"""What the config.json of a published Gemma 3 may leave out: the defaults of Transformers' Gemma3TextConfig."""


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
    biases: Mapping[str, bool]
    """Whether attention ("attn_q", "attn_k", "attn_v", "attn_output") and feed-forward matrices ("ffn_gate", "ffn_up",
    "ffn_down") must have a bias (True) or must not (False); one that is not named may."""
    tied: bool | None
    """Whether the head is the embedding; None: it is where there is no other."""
    vocabulary: int | None
    """Rows of the embedding, where the configuration says."""


class _HasPath(Protocol):
    @property
    def path(self) -> Path: ...


class _Reader:
    """Typed access to metadata: errors name the key, what stands there and what would be right."""

    def __init__(self, checkpoint: _HasPath, values: Mapping[str, Any], prefix: str = "", inside: str = "") -> None:
        self.path, self.values, self.prefix, self.inside = checkpoint.path, values, prefix, inside

    def get(self, key: str) -> Any:
        return self.values.get(self.prefix + key)

    def fail(self, key: str, expected: str, value: object) -> NoReturn:
        raise ModelError(f"{self.path}: {self.inside}{self.prefix}{key} must be {expected}, found {value!r:.80}")

    def integer(self, key: str, default: int | None = None, least: int = 1, most: int = 1 << 24) -> int:
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fail(key, f"an integer from {least} to {most}", value)
        return value

    def number(self, key: str, default: float | None = None, least: float = 0.0, most: float = 1e12) -> float:
        """Read a number greater than 0."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or value == 0 or not least <= value <= most:
            self.fail(key, f"a positive number from {least:g} to {most:g}", value)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            self.fail(key, "true or false", value)
        return value

    def choice(self, key: str, known: tuple[str, ...]) -> str | None:
        """Read one of some words; None where the key is missing."""
        value = self.get(key)
        if value is not None and not (isinstance(value, str) and value in known):
            self.fail(key, f"{' or '.join(known)} (others are not supported)", value)
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Read an object; empty where the key is missing."""
        value = self.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.fail(key, "an object", value)
        return value or {}

    def refuse(self, features: Mapping[str, tuple[object, ...]]) -> None:
        """Refuse what would be computed wrongly."""
        for key, harmless in features.items():
            value = self.get(key)
            plain = isinstance(value, bool | int | float)
            if value is not None and not (plain and value in harmless):
                where = f"{self.path}: {self.inside}{self.prefix}{key}"
                raise ModelError(f"{where} is {value!r:.80}, which is not supported")


def _check(config: Config, path: object) -> Config:
    if config.heads % config.kv_heads:
        raise ModelError(f"{path}: {config.heads} heads are not a multiple of {config.kv_heads} KV heads")
    if config.head_width % 2 or config.head_width > 512:
        raise ModelError(f"{path}: the heads' width must be even and at most 512, found {config.head_width}")
    if config.rope_width % 2 or config.rope_width > config.head_width:
        raise ModelError(f"{path}: {config.rope_width} rotary dimensions do not fit heads of {config.head_width}")
    sizes = (("width", config.width, 16384), ("hidden width", config.hidden, 32768))
    for name, size, most in (*sizes, ("width of all heads", config.heads * config.head_width, 32768)):
        if size > most:
            raise ModelError(f"{path}: a {name} of {size} passes the proven bounds of the integer sums, at most {most}")
    return replace(config, context=min(config.context, MOST_CONTEXT))


_ATTENTION = ("attn_q", "attn_k", "attn_v")
_FEED_FORWARD = ("ffn_gate", "ffn_up", "ffn_down")


def _gguf_config(checkpoint: Checkpoint, architecture: str) -> Config:
    m = _Reader(checkpoint, checkpoint.metadata, architecture + ".")
    gemma = architecture == "gemma3"
    layers = m.integer("block_count", most=1024)
    width = m.integer("embedding_length")
    heads = m.integer("attention.head_count", most=4096)
    head_width = m.integer("attention.key_length", width // heads)
    if m.integer("attention.value_length", head_width) != head_width:
        raise ModelError(f"{checkpoint.path}: keys and values of different width are not supported")
    context = m.integer("context_length", most=1 << 30)
    window = m.integer("attention.sliding_window", 0, least=0)
    m.refuse(_GGUF_REFUSED)
    if not gemma and 0 < window < context:
        m.fail("attention.sliding_window", "0 (local layers are not supported for this architecture)", window)
    return Config(
        architecture=architecture,
        from_gguf=True,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=m.integer("attention.head_count_kv", heads, most=4096),
        head_width=head_width,
        hidden=m.integer("feed_forward_length"),
        context=context,
        eps=m.number("attention.layer_norm_rms_epsilon", most=1.0),
        rope_base=m.number("rope.freq_base", 10000.0, least=1.0),
        rope_local_base=m.number("rope.freq_base_swa", 10000.0, least=1.0),
        rope_width=m.integer("rope.dimension_count", head_width),
        rope_scaling=_gguf_scaling(m),
        window=window if gemma else 0,
        window_pattern=_gguf_pattern(m, layers) if gemma and window else (False,) * layers,
        query_width=width / heads if gemma and layers == 62 else head_width,  # the 27B alone scales by width / heads
        biases=dict.fromkeys(_ATTENTION, True) if architecture == "qwen2" else {},
        tied=None,
        vocabulary=None,
    )


def _gguf_scaling(m: _Reader) -> dict[str, Any]:
    """Read the scaling of rotary frequencies; a factor without a type means linear, as it does for llama.cpp."""
    kind = m.choice("rope.scaling.type", ("none", "linear"))
    factor = m.number("rope.scaling.factor", m.number("rope.scale_linear", 1.0))
    if kind == "none" or (kind is None and factor == 1.0):
        return {}
    return {"type": "linear", "factor": factor}


def _gguf_pattern(m: _Reader, layers: int) -> tuple[bool, ...]:
    """Which layers are local: every one but each n-th, or as a list says."""
    key = "attention.sliding_window_pattern"
    value = m.get(key)
    if value is None or isinstance(value, int):
        every = m.integer(key, 6)
        return tuple((i + 1) % every != 0 for i in range(layers))
    flags = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(flags, list | tuple) or len(flags) != layers or not all(flag in (True, False) for flag in flags):
        m.fail(key, f"an integer or true or false for each of {layers} layers", value)
    return tuple(bool(flag) for flag in flags)


def _hf_config(checkpoint: Checkpoint, architecture: str) -> Config:
    m = _Reader(checkpoint, checkpoint.metadata)
    m.refuse(_HF_REFUSED)
    gemma, llama = architecture == "gemma3", architecture == "llama"
    values = m.mapping("text_config") or checkpoint.metadata
    if gemma:
        values = {**_HF_GEMMA_DEFAULTS, **values}
    m = _Reader(checkpoint, values)
    m.refuse(_HF_REFUSED)
    layers = m.integer("num_hidden_layers", most=1024)
    width = m.integer("hidden_size")
    heads = m.integer("num_attention_heads", most=4096)
    head_width = m.integer("head_dim", width // heads)
    context = m.integer("max_position_embeddings", most=1 << 30)
    m.choice(*(("hidden_activation", ("gelu_pytorch_tanh",)) if gemma else ("hidden_act", ("silu",))))
    local = _hf_pattern(m, layers, gemma)
    rope = _HfRope(m, gemma)
    attention = architecture == "qwen2" or m.flag("attention_bias", False)
    biases = dict.fromkeys(_ATTENTION, attention)
    biases["attn_output"] = attention and architecture != "qwen2"
    biases |= dict.fromkeys(_FEED_FORWARD, llama and m.flag("mlp_bias", False))
    tied = checkpoint.metadata.get("tie_word_embeddings", m.get("tie_word_embeddings"))
    if tied not in (None, True, False):
        m.fail("tie_word_embeddings", "true or false", tied)
    return Config(
        architecture=architecture,
        from_gguf=False,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=m.integer("num_key_value_heads", heads, most=4096),
        head_width=head_width,
        hidden=m.integer("intermediate_size"),
        context=context,
        eps=m.number("rms_norm_eps", 1e-6, most=1.0),
        rope_base=rope.base,
        rope_local_base=rope.local_base,
        rope_width=head_width,
        rope_scaling=rope.scaling,
        window=m.integer("sliding_window") if any(local) else 0,
        window_pattern=local,
        query_width=m.number("query_pre_attn_scalar", least=1.0, most=1e6) if gemma else head_width,
        biases=biases,
        tied=tied,
        vocabulary=None if m.get("vocab_size") is None else m.integer("vocab_size"),
    )


def _hf_pattern(m: _Reader, layers: int, gemma: bool) -> tuple[bool, ...]:
    """Which layers are local."""
    kinds = m.get("layer_types")
    if kinds is None:
        every = m.integer("sliding_window_pattern", m.integer("_sliding_window_pattern", 6)) if gemma else 1
        return tuple((i + 1) % every != 0 for i in range(layers))
    allowed = ("full_attention", "sliding_attention") if gemma else ("full_attention",)
    if not isinstance(kinds, list) or len(kinds) != layers or not all(kind in allowed for kind in kinds):
        m.fail("layer_types", f"a list that gives each of {layers} layers {' or '.join(allowed)}", kinds)
    return tuple(kind == "sliding_attention" for kind in kinds)


class _HfRope:
    """Rotary parameters: `rope_theta` and `rope_scaling`, or in newer files `rope_parameters` (for Gemma two sets)."""

    def __init__(self, m: _Reader, gemma: bool) -> None:
        name = "rope_parameters: "
        sets = _Reader(m, m.mapping("rope_parameters"), inside=name)
        full = _Reader(m, sets.mapping("full_attention") or sets.values, inside=name)
        local = _Reader(m, sets.mapping("sliding_attention"), inside=name + "sliding_attention: ")
        base = 1e6 if gemma else 10000.0
        self.base = full.number("rope_theta", m.number("rope_theta", base, least=1.0), least=1.0)
        self.local_base = local.number("rope_theta", m.number("rope_local_base_freq", 10000.0, least=1.0), least=1.0)
        local.choice("rope_type", ("default",))
        local.choice("type", ("default",))
        local.refuse({"factor": (1,)})
        raw = m.mapping("rope_scaling") or full.values
        scaling = _Reader(m, raw, inside="rope scaling: ")
        for one in (sets, full, local, scaling):
            one.refuse({"partial_rotary_factor": (1,)})
        known = ("default", "linear", "llama3")
        kind = scaling.choice("rope_type", known) or scaling.choice("type", known)
        self.scaling: dict[str, Any] = {}
        if kind in (None, "default"):
            scaling.refuse({"factor": (1,)})
            return
        self.scaling = {k: v for k, v in raw.items() if k not in ("rope_type", "rope_theta")} | {"type": kind}
        self.scaling["original"] = raw.get("original_max_position_embeddings", m.get("max_position_embeddings"))


def read_config(checkpoint: Checkpoint, architecture: str) -> Config:
    """The hyper-parameters of a checkpoint whose architecture is known.

    Raises
    ------
    ModelError
        If one is missing, of the wrong type or out of bounds.
    """
    read = _gguf_config if checkpoint.format == "gguf" else _hf_config
    return _check(read(checkpoint, architecture), checkpoint.path)


def hf_name(name: str, architecture: str) -> str:
    """Name in safetensors files of a tensor that has a canonical (GGUF's) name."""
    names = {own: hf for hf, own in (_HF_GEMMA_NAMES if architecture == "gemma3" else _HF_NAMES).items()}
    stem, _, end = name.rpartition(".")
    if stem.startswith("blk."):
        _, layer, part = stem.split(".", 2)
        return f"model.layers.{layer}.{names.get(part, part)}.{end}"
    return f"{names.get(stem, stem)}.{end}"


def canonical_tensors(checkpoint: Checkpoint, architecture: str) -> dict[str, Tensor]:
    """Tensors under GGUF's names, whatever the format."""
    if checkpoint.format == "gguf":
        return dict(checkpoint.tensors)
    names = _HF_GEMMA_NAMES if architecture == "gemma3" else _HF_NAMES
    out = {}
    for name, tensor in checkpoint.tensors.items():
        if _HF_UNUSED.fullmatch(name):
            continue
        plain = name.removeprefix("language_model.").replace("model.language_model.", "model.", 1)
        if (match := _HF_LAYER.fullmatch(plain)) and match[2] in names:
            out[f"blk.{match[1]}.{names[match[2]]}.{match[3]}"] = tensor
        elif (stem := plain.removesuffix(".weight")) in names and stem != plain:
            out[names[stem] + ".weight"] = tensor
        else:
            out[name] = tensor  # what no builder knows is refused there
    return out
