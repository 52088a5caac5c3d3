"""Hyper-parameters that decoders have in common, read from GGUF metadata or from Hugging Face's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from intact.errors import ModelError
from intact.formats.metadata import Metadata

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


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of a decoder, under one name each whatever the file calls them."""

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
    rope_width: int
    rope_scaling: Mapping[str, Any]
    query_width: float
    """The scores are divided by its square root."""
    biases: Mapping[str, bool]
    """Whether a matrix ("attn_q", "ffn_up", ...) must have a bias (True) or must not (False); one not named may."""
    tied: bool | None = None
    """Whether the head is the embedding; None: it is where there is no other."""
    vocabulary: int | None = None
    """Rows of the embedding, where the configuration says."""
    window: int = 0
    """Positions that local layers attend to."""
    local_layers: tuple[bool, ...] = ()
    """For each layer whether it attends only to its window."""
    rope_local_base: float = 10000.0


def check_config(config: Config, path: object) -> Config:
    """Return the configuration with its context cut to what is proven.

    Raises
    ------
    ModelError
        If sizes contradict each other or pass the bounds for which the integer sums are proven.
    """
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


def read_gguf_config(m: Metadata, biases: Mapping[str, bool | str]) -> Config:
    """Read the common hyper-parameters of a GGUF file.

    Parameters
    ----------
    m : Metadata
        The file's, with the architecture's name as prefix.
    biases : mapping
        As `Decoder.biases`. GGUF has no flags for them: where a bias depends on one, the file's tensors decide.
    """
    width, heads = m.integer("embedding_length"), m.integer("attention.head_count", most=4096)
    head_width = m.integer("attention.key_length", width // heads)
    if m.integer("attention.value_length", head_width) != head_width:
        raise ModelError(f"{m.source}: keys and values of different width are not supported")
    m.refuse_features(_GGUF_REFUSED)
    return Config(
        from_gguf=True,
        layers=m.integer("block_count", most=1024),
        width=width,
        heads=heads,
        kv_heads=m.integer("attention.head_count_kv", heads, most=4096),
        head_width=head_width,
        hidden=m.integer("feed_forward_length"),
        context=m.integer("context_length", most=1 << 30),
        eps=m.number("attention.layer_norm_rms_epsilon", most=1.0),
        rope_base=m.number("rope.freq_base", 10000.0, least=1.0),
        rope_width=m.integer("rope.dimension_count", head_width),
        rope_scaling=read_gguf_scaling(m),
        query_width=head_width,
        biases={matrix: True for matrix, has in biases.items() if has is True},
    )


def read_gguf_scaling(m: Metadata) -> dict[str, Any]:
    """Read the scaling of rotary frequencies; a factor without a type means linear, as it does for llama.cpp."""
    kind = m.choice("rope.scaling.type", ("none", "linear"))
    factor = m.number("rope.scaling.factor", m.number("rope.scale_linear", 1.0))
    if kind == "none" or (kind is None and factor == 1.0):
        return {}
    return {"type": "linear", "factor": factor}


def text_config(metadata: Mapping[str, Any], source: Any, defaults: Mapping[str, Any]) -> Metadata:
    """Return the part of a config.json that describes the text model, on top of an architecture's defaults.

    Models with pictures have it as `text_config`.
    """
    whole = Metadata(metadata, source)
    whole.refuse_features(_HF_REFUSED)
    tied = {key: metadata[key] for key in ("tie_word_embeddings",) if key in metadata}
    return Metadata({**defaults, **(whole.mapping("text_config") or metadata), **tied}, source)


def read_hf_config(m: Metadata, biases: Mapping[str, bool | str]) -> Config:
    """Read the common hyper-parameters of a config.json (`text_config`); biases as `Decoder.biases`."""
    m.refuse_features(_HF_REFUSED)
    width, heads = m.integer("hidden_size"), m.integer("num_attention_heads", most=4096)
    head_width = m.integer("head_dim", width // heads)
    base, local_base, scaling = read_hf_rope(m)
    tied = m.get("tie_word_embeddings")
    if tied not in (None, True, False):
        m.refuse("tie_word_embeddings", "true or false", tied)
    return Config(
        from_gguf=False,
        layers=m.integer("num_hidden_layers", most=1024),
        width=width,
        heads=heads,
        kv_heads=m.integer("num_key_value_heads", heads, most=4096),
        head_width=head_width,
        hidden=m.integer("intermediate_size"),
        context=m.integer("max_position_embeddings", most=1 << 30),
        eps=m.number("rms_norm_eps", 1e-6, most=1.0),
        rope_base=base,
        rope_width=head_width,
        rope_scaling=scaling,
        query_width=head_width,
        biases={matrix: m.flag(has, False) if isinstance(has, str) else has for matrix, has in biases.items()},
        tied=tied,
        vocabulary=None if m.get("vocab_size") is None else m.integer("vocab_size"),
        rope_local_base=local_base,
    )


def read_hf_rope(m: Metadata) -> tuple[float, float, dict[str, Any]]:
    """Read the rotary base, that of local layers, and the scaling of frequencies.

    They are `rope_theta` and `rope_scaling`, or in newer files `rope_parameters`, which may have a set for each kind
    of layer.
    """
    name = "rope_parameters: "
    sets = m.within("rope_parameters", name)
    full = sets.within("full_attention", name) if sets.mapping("full_attention") else sets
    local = sets.within("sliding_attention", name + "sliding_attention: ")
    local.choice("rope_type", ("default",))
    local.choice("type", ("default",))
    local.refuse_features({"factor": (1,)})
    scaling = Metadata(m.mapping("rope_scaling") or full.values, m.source, inside="rope scaling: ")
    for one in (sets, full, local, scaling):
        one.refuse_features({"partial_rotary_factor": (1,)})
    base = full.number("rope_theta", m.number("rope_theta", 10000.0, least=1.0), least=1.0)
    local_base = local.number("rope_theta", m.number("rope_local_base_freq", 10000.0, least=1.0), least=1.0)
    known = ("default", "linear", "llama3")
    kind = scaling.choice("rope_type", known) or scaling.choice("type", known)
    if kind in (None, "default"):
        scaling.refuse_features({"factor": (1,)})
        return base, local_base, {}
    found = {key: value for key, value in scaling.values.items() if key not in ("rope_type", "rope_theta")}
    original = scaling.values.get("original_max_position_embeddings", m.get("max_position_embeddings"))
    return base, local_base, found | {"type": kind, "original": original}
