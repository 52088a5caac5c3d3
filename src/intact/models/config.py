"""Hyper-parameters common to decoders, read from GGUF metadata or from Hugging Face's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, NamedTuple

from intact._base.errors import ModelError
from intact.checkpoints.formats.metadata import Metadata
from intact.models.mixtures import ExpertMixture
from intact.models.rotary import read_gguf_scaling, read_hf_rope, stretched_base
from intact.numerics.delta import DeltaShape
from intact.numerics.scan import ScanShape
from intact.numerics.selective import SelectiveShape
from intact.numerics.trapezoidal import TrapezoidalShape

MOST_CONTEXT = 1 << 19
"""Number of positions for which the bounds on attention's sums are proven (docs/spec/numerics.md, section 7)."""

# Keys of features that would change the output and that no operation implements, with the values that disable them.
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
    "pooling_type": (0, 3, 4),
}
_HF_REFUSED: Mapping[str, tuple[object, ...]] = {
    "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,),
    "num_experts": (0, 1),
    "num_local_experts": (0,),
    "per_layer_config": (),
    "quantization_config": (),
    "use_bidirectional_attention": (False,),
    "use_sliding_window": (False,),
}
_NO_ALIASES: Mapping[str, str] = {}


class LatentAttention(NamedTuple):
    """The widths of latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    Attributes
    ----------
    rank, query_rank : int
        Widths of the latent row for keys and values, and of the latent row for queries (0: none).
    rotary, plain : int
        Widths of the rotated part of a head's query and key, and of the rest.
    value : int
        Width of a head's value.
    """

    rank: int
    query_rank: int
    rotary: int
    plain: int
    value: int


class LayerKinds(NamedTuple):
    """Differences between the layers of Gemma 4.

    Attributes
    ----------
    widths, kv_heads : pair of int
        Head widths and numbers of KV heads, each of global and of local layers.
    sharing : int
        Number of final layers without their own keys and values; they use those of the last layer of their kind that
        has its own.
    sharing_hidden : int
        Hidden width of the feed-forward networks of those layers.
    inputs : int
        Width of the per-layer inputs that each layer has in addition to the stream; 0: none.
    keys_as_values : bool
        If true, global layers may lack a value matrix, and use their keys as values.
    rotated : int, optional
        Number of rotated pairs in a head of a global layer, if no tensor of the file specifies it.
    """

    widths: tuple[int, int]
    kv_heads: tuple[int, int]
    sharing: int
    sharing_hidden: int
    inputs: int
    keys_as_values: bool
    rotated: int | None = None


class RowFactors(NamedTuple):
    """Factors for consecutive rows of a matrix, multiplied in one after the other when the matrix is read."""

    rows: int
    factors: tuple[float, ...]


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of a decoder, under uniform names regardless of the file's own."""

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
    """Scores are divided by the square root of this value."""
    biases: Mapping[str, bool]
    """For matrices ("attn_q", "ffn_up", ...): True if a bias is required, False if not allowed; others may have one."""
    tied: bool | None = None
    """If true, the head is tied to the embedding; None: it is tied unless the file has a head."""
    vocabulary: int | None = None
    """Number of rows of the embedding, if the configuration specifies it."""
    window: int = 0
    """Number of positions that local layers attend to."""
    local_layers: tuple[bool, ...] = ()
    """For each layer, true if it attends only to its window."""
    rope_local_base: float | None = None
    """Rotary base of local layers, if different."""
    unrotated_layers: tuple[int, ...] = ()
    """Layers without a position embedding."""
    score_scale: Fraction | None = None
    """Factor of the scores, if it does not follow from `query_width`."""
    embedding_scale: Fraction = Fraction(1)
    residual_scale: Fraction = Fraction(1)
    """Factor of the results of attention and feed-forward network before the residual sum."""
    logit_scale: Fraction = Fraction(1)
    mixture: ExpertMixture | None = None
    latent: LatentAttention | None = None
    kinds: LayerKinds | None = None
    score_cap: Fraction = Fraction(0)
    logit_cap: Fraction = Fraction(0)
    """Soft caps of scores and of logits; 0: none."""
    head_norms: bool | None = None
    """If true, queries and keys are normed; None: as the class specifies. Set where files of an architecture differ."""
    convolutions: tuple[int, ...] = ()
    """Layers with a short convolution instead of attention."""
    taps: int = 0
    """Number of positions that a convolution sums over, including its own."""
    scan: ScanShape | None = None
    """Sizes of state-space layers, if any; their convolutions sum over `taps` positions."""
    scan_layers: tuple[int, ...] = ()
    """Layers with a state space instead of attention."""
    net_layers: tuple[int, ...] = ()
    """Layers with only a feed-forward network: no attention and no replacement for it."""
    scan_norm: bool = True
    """If true, state-space layers have a norm before their output projection."""
    selective: SelectiveShape | None = None
    """Sizes of layers with a selective scan, if any; their convolutions sum over `taps` positions."""
    selective_eps: float = 0.0
    """Epsilon of these layers' norms of dt, B and C, which have no gains; 0: no such norms."""
    trapezoidal: TrapezoidalShape | None = None
    """Sizes of layers with a trapezoidal scan, if any."""
    slowest_decay: float = 1e-4
    """Minimum decay rate of these layers' states."""
    delta: DeltaShape | None = None
    """Sizes of gated delta nets, if any; their convolutions sum over `taps` positions."""
    delta_layers: tuple[int, ...] = ()
    """Layers with a gated delta net instead of attention."""
    forget_bounds: bool = False
    """If true, the forget gates of all layers except the first have lower bounds (HGRN)."""
    factors: Mapping[str, tuple[RowFactors, ...]] = field(default_factory=dict)
    """Factors of matrices, by the ends of their names (Falcon-H1); matrices not listed have no factor."""
    token_types: int = 0
    """Number of token types, each with a row that is added to the embedding (BERT)."""
    first_position: int = 0
    """Row of position 0 in the table of learned positions."""
    separator: int | None = None
    """Token after which the second token type begins; None: all tokens have the first type."""
    other_heads: tuple[str, ...] = ()
    """Tensors that the program ignores: a reward model's head, a reranker's rows of its own head."""

    @property
    def is_local(self) -> tuple[bool, ...]:
        """For each layer, true if it attends only to its window."""
        return self.local_layers or (False,) * self.layers


def check_config(config: Config, path: object) -> Config:
    """Return the configuration, with its context limited to the proven number of positions.

    Raises
    ------
    ModelError
        If sizes contradict each other or exceed the bounds for which the integer sums are proven.
    """
    if config.heads % config.kv_heads:
        raise ModelError(f"{path}: {config.heads} heads are not a multiple of {config.kv_heads} KV heads")
    if config.head_width % 2 or config.head_width > 512:
        raise ModelError(f"{path}: the head width must be even and at most 512, found {config.head_width}")
    if config.rope_width % 2 or config.rope_width > config.head_width:
        raise ModelError(f"{path}: {config.rope_width} rotary dimensions do not fit heads of {config.head_width}")
    sizes = (
        ("width", config.width, 16384),
        ("hidden width", config.hidden, 32768),
        ("width of all heads", config.heads * config.head_width, 32768),
        ("width of all values of a delta net", 0 if config.delta is None else config.delta.inner, 32768),
    )
    for name, size, most in sizes:
        if size > most:
            raise ModelError(f"{path}: a {name} of {size} exceeds the proven bound of the integer sums, {most}")
    return replace(config, context=min(config.context, MOST_CONTEXT))


def exact(value: float) -> Fraction:
    """Return the decimal number in a float's repr as a fraction."""
    return Fraction(repr(float(value)))


def read_gguf_config(
    m: Metadata,
    biases: Mapping[str, bool | str],
    own: frozenset[str] = frozenset(),
    eps: str = "attention.layer_norm_rms_epsilon",
) -> Config:
    """Read the common hyper-parameters of a GGUF file.

    Parameters
    ----------
    m : Metadata
        The file's metadata, with the architecture's name as prefix.
    biases : mapping
        As in `Decoder.biases`. GGUF has no flags for biases: if a bias depends on one, the file's tensors decide.
    own : set of str
        Keys that the architecture reads itself and that would otherwise be refused.
    eps : str
        Key of the norms' epsilon.
    """
    width, heads = m.integer("embedding_length"), m.integer("attention.head_count", most=4096)
    head_width = m.integer("attention.key_length", width // heads)
    if m.integer("attention.value_length", head_width) != head_width:
        raise ModelError(f"{m.source}: keys and values of different widths are not supported")
    m.refuse_features({key: values for key, values in _GGUF_REFUSED.items() if key not in own})
    scaling = read_gguf_scaling(m)
    context = m.integer("context_length", most=1 << 30)
    has_temperature = m.get("attention.temperature_scale", 0) != 0
    return Config(
        from_gguf=True,
        layers=m.integer("block_count", most=1024),
        width=width,
        heads=heads,
        kv_heads=m.integer("attention.head_count_kv", heads, most=4096),
        head_width=head_width,
        hidden=m.integer("feed_forward_length"),
        context=context_without_temperature(m, context, scaling) if has_temperature else context,
        eps=m.number(eps, most=1.0),
        rope_base=m.number("rope.freq_base", 10000.0, least=1.0),
        rope_width=m.integer("rope.dimension_count", head_width),
        rope_scaling=scaling,
        query_width=head_width,
        biases={matrix: True for matrix, has in biases.items() if has is True},
        other_heads=("cls.output.weight",) if m.get("pooling_type") == 4 else (),
    )


def context_without_temperature(m: Metadata, context: int, scaling: Mapping[str, Any]) -> int:
    """Return the number of positions for which the file's attention temperature multiplies queries by 1.

    The temperature multiplies the query at position p by ``1 + beta ln(1 + floor(p / original))`` (Llama 4, Ministral
    3). No operation implements that, so the context ends where the factor starts to differ from 1.
    """
    original = scaling.get("original")
    if isinstance(original, bool) or not isinstance(original, int) or original < 1:
        raise ModelError(f"{m.source}: an attention temperature needs rope scaling with an original context")
    return min(context, original)


def text_config(
    metadata: Mapping[str, Any],
    source: Any,
    defaults: Mapping[str, Any],
    own: frozenset[str] = frozenset(),
    aliases: Mapping[str, str] = _NO_ALIASES,
) -> Metadata:
    """Return the part of a config.json that describes the text model, on top of an architecture's defaults.

    Multimodal models store it under `text_config`. `own` are keys that the architecture reads itself and that would
    otherwise be refused; `aliases` maps alternative keys to the keys that are read.
    """
    whole = Metadata(_renamed(metadata, source, aliases), source)
    whole.refuse_features(_others(own))
    tied = {key: metadata[key] for key in ("tie_word_embeddings",) if key in metadata}
    text = whole.mapping("text_config")
    return Metadata({**defaults, **(_renamed(text, source, aliases) or whole.values), **tied}, source)


def _renamed(values: Mapping[str, Any], source: Any, aliases: Mapping[str, str]) -> dict[str, Any]:
    """Return the values with aliases replaced by the keys that are read.

    Raises
    ------
    ModelError
        If a file has both keys and their values differ.
    """
    found = {key: value for key, value in values.items() if key not in aliases}
    for alias, key in aliases.items():
        if (value := values.get(alias)) is None:
            continue
        known = found.get(key)
        if known is None:
            found[key] = value
        elif known != value and not isinstance(known, list):  # a list has one number per layer
            Metadata(values, source).refuse(alias, f"{known!r:.40}, as {key}", value)
    return found


def _others(own: frozenset[str]) -> Mapping[str, tuple[object, ...]]:
    return {key: values for key, values in _HF_REFUSED.items() if key not in own}


def read_hf_config(
    m: Metadata,
    biases: Mapping[str, bool | str],
    partial: bool = False,
    own: frozenset[str] = frozenset(),
    eps: str = "rms_norm_eps",
) -> Config:
    """Read the common hyper-parameters of a config.json (`text_config`).

    Parameters
    ----------
    biases : mapping
        As in `Decoder.biases`.
    partial : bool
        If true, heads may be partially rotated.
    own, eps
        As in `read_gguf_config`.
    """
    m.refuse_features(_others(own))
    width, heads = m.integer("hidden_size"), m.integer("num_attention_heads", most=4096)
    head_width = m.integer("head_dim", width // heads)
    rotary = read_hf_rope(m, partial)
    rope_width = int(head_width * rotary.part)
    context = m.integer("max_position_embeddings", most=1 << 30)
    has_temperature = rotary.scaling.get("llama_4_scaling_beta") not in (None, 0)
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
        context=context_without_temperature(m, context, rotary.scaling) if has_temperature else context,
        eps=m.number(eps, 1e-6, most=1.0),
        rope_base=stretched_base(rotary, rope_width),
        rope_width=rope_width,
        rope_scaling=rotary.scaling,
        query_width=head_width,
        biases={matrix: m.flag(has, False) if isinstance(has, str) else has for matrix, has in biases.items()},
        tied=tied,
        vocabulary=None if m.get("vocab_size") is None else m.integer("vocab_size"),
        rope_local_base=rotary.local_base,
    )
