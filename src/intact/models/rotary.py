"""Rotary parameters of decoders, from GGUF metadata or config.json: base, width, frequency scaling."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats.metadata import Metadata
from intact.numerics.rope import SCALINGS, UNIT, exp, ln

FACTORS: Final = ("rope_factors_long.weight", "rope_factors_short.weight")
"""GGUF tensors with longrope's frequency divisors: for contexts beyond the original one, and for shorter ones."""
_GGUF_KINDS: Final = ("none", "linear", "yarn", "longrope")
_HF_KINDS: Final = ("default", "dynamic", *SCALINGS)
_HF_OTHER_NAMES: Final = {"su": "longrope", "mrope": "default"}
"""Other names for kinds in config.json; the sections of "mrope" only affect positions of images."""


class Rotary(NamedTuple):
    """Rotary parameters of a config.json.

    Attributes
    ----------
    base : float
        Base of all layers.
    local_base : float, optional
        Base of layers that attend to a window, if the file specifies one.
    part : float
        Rotated part of each head, at most 1.
    scaling : mapping
        Empty, or `type` and its numbers, as for `intact.numerics.rope.rotation`; `divisors` are longrope's.
    alpha : float
        Factor that stretches the base (`stretched_base`).
    """

    base: float
    local_base: float | None
    part: float
    scaling: Mapping[str, Any]
    alpha: float = 1.0


def read_gguf_scaling(m: Metadata) -> dict[str, Any]:
    """Read the scaling of rotary frequencies; as in llama.cpp, a factor without a type means linear.

    An attention factor without a type means longrope, as in Phi-3 files.
    """
    kind = m.choice("rope.scaling.type", _GGUF_KINDS)
    factor = m.number("rope.scaling.factor", m.number("rope.scale_linear", 1.0))
    times = m.get("rope.scaling.attn_factor") or 1.0
    if kind is None and times != 1.0:
        kind = "longrope"
    if kind == "none" or (kind is None and factor == 1.0):
        return {}
    if kind in (None, "linear"):
        m.refuse_features({"rope.scaling.attn_factor": (0.0, 1.0)})
        return {"type": "linear", "factor": factor}
    context = m.integer("context_length", most=1 << 30)
    found = {"type": kind, "original": m.integer("rope.scaling.original_context_length", context, most=1 << 30)}
    if kind == "longrope":
        return found | {"attention_factor": times}
    m.refuse_features({"rope.scaling.yarn_ext_factor": (1.0,), "rope.scaling.yarn_attn_factor": (1.0,)})
    both = m.get("rope.scaling.yarn_log_multiplier")
    return found | {
        "factor": factor,
        "beta_fast": m.number("rope.scaling.yarn_beta_fast", 32.0),
        "beta_slow": m.number("rope.scaling.yarn_beta_slow", 1.0),
        "factor_of_scores": times,
        **({"mscale": 1.0, "mscale_all_dim": both} if both else {}),
    }


def read_hf_rope(m: Metadata, partial: bool = False) -> Rotary:
    """Read the rotary parameters of a config.json.

    These are `rope_theta` and `rope_scaling`, or, in newer files, `rope_parameters`, which may contain one set per kind
    of layer.

    Parameters
    ----------
    partial : bool
        If true, heads may be partially rotated (`partial_rotary_factor`).
    """
    name = "rope_parameters: "
    sets = m.within("rope_parameters", name)
    full = sets.within("full_attention", name) if sets.mapping("full_attention") else sets
    local = sets.within("sliding_attention", name + "sliding_attention: ")
    local.choice("rope_type", ("default",))
    local.choice("type", ("default",))
    local.refuse_features({"factor": (1,), "partial_rotary_factor": (1,)})
    scaling = Metadata(m.mapping("rope_scaling") or full.values, m.source, inside="rope scaling: ")
    part = 1.0
    for one in (m, sets, full, scaling):
        if not partial:
            one.refuse_features({"partial_rotary_factor": (1,)})
        elif one.get("partial_rotary_factor") is not None:
            part = one.number("partial_rotary_factor", most=1.0)
    base = full.number("rope_theta", m.number("rope_theta", 10000.0, least=1.0), least=1.0)
    owner, key = (local, "rope_theta") if local.get("rope_theta") is not None else (m, "rope_local_base_freq")
    local_base = None if owner.get(key) is None else owner.number(key, least=1.0)
    alpha = scaling.number("alpha", 1.0, least=1.0, most=1e6)
    return Rotary(base, local_base, part, _read_hf_scaling(m, scaling), alpha=alpha)


def stretched_base(rotary: Rotary, width: int) -> float:
    """Return ``base * alpha^(width / (width - 2))``, in float32 as in GGUF files; the base itself for an alpha of 1.

    This is "NTK-aware" scaling with a fixed factor, as in Hunyuan. It is computed in integers, so it is the same
    everywhere.
    """
    if rotary.alpha == 1 or width <= 2:
        return rotary.base
    power = ln(Fraction(repr(rotary.alpha))) * width // (width - 2)
    return float(np.float32(float(Fraction(repr(rotary.base)) * UNIT / exp(-power))))


def _read_hf_scaling(m: Metadata, scaling: Metadata) -> Mapping[str, Any]:
    older = {key: _HF_OTHER_NAMES[value] for key, value in scaling.values.items() if value in tuple(_HF_OTHER_NAMES)}
    scaling = Metadata({**scaling.values, **older}, scaling.source, inside=scaling.inside)
    kind = scaling.choice("rope_type", _HF_KINDS) or scaling.choice("type", _HF_KINDS)
    if kind == "dynamic":  # changes frequencies only beyond max_position_embeddings, where the context ends
        return {}
    scaling.refuse_features({"alpha": (1,)})
    if kind in (None, "default"):
        scaling.refuse_features({"factor": (1,), "llama_4_scaling_beta": (0,)})
        return {}
    found = {key: value for key, value in scaling.values.items() if key not in ("rope_type", "rope_theta")}
    context = m.get("max_position_embeddings")
    original = scaling.get("original_max_position_embeddings", m.get("original_max_position_embeddings", context))
    found |= {"type": kind, "original": original}
    if kind in ("yarn", "longrope") and found.get("factor") is None:
        found["factor"] = m.integer("max_position_embeddings", most=1 << 30) / _positive(scaling, original)
    if kind == "longrope":
        long = m.integer("max_position_embeddings", most=1 << 30) > _positive(scaling, original)
        values = scaling.array("long_factor" if long else "short_factor")
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            scaling.refuse("long_factor" if long else "short_factor", "a list of numbers", values)
        found["divisors"] = np.array(values, np.float32)
    return found


def _positive(scaling: Metadata, original: object) -> int:
    if isinstance(original, bool) or not isinstance(original, int) or original < 1:
        scaling.refuse("original_max_position_embeddings", "a positive integer", original)
    return original


def divisors(scaling: Mapping[str, Any], context: int) -> tuple[str, NDArray[np.float32] | None]:
    """Return the name of the tensor with longrope's divisors for a context, and the divisors of a config.json."""
    original = scaling.get("original", context)
    if not isinstance(original, int):
        raise ModelError(f"rope scaling: the original context must be an integer, found {original!r:.80}")
    return FACTORS[0] if context > original else FACTORS[1], scaling.get("divisors")
