"""Mixtures of experts: their hyper-parameters, and the stacked matrices that files hold them as."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from intact.formats import Tensor
from intact.formats.metadata import Metadata
from intact.models.names import split_rows
from intact.numerics.experts import ExpertWeights

ROUTER: Final = "ffn_gate_inp"
EXPERTS: Final = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
SHARED: Final = ("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp")
SHARED_GATE: Final = "ffn_gate_inp_shexp"
_STACKED: Final = re.compile(r"(blk\.\d+\.ffn_(?:gate|up|down)_exps)\.(weight|bias)")
_MOST = 1024


class MixtureForm(NamedTuple):
    """Keys and defaults by which the files of an architecture describe its mixtures.

    Attributes
    ----------
    weights : str
        How the weights of experts follow from their scores, where a file does not say whether they are normalised.
    hf_count, hf_hidden : str
        The keys in config.json of the number of experts and of their hidden width.
    hf_shared : str, optional
        The key of the hidden width of the expert that all rows pass.
    shared_gate : bool
        If true, that expert's result is multiplied by the sigmoid of a score.
    """

    weights: ExpertWeights
    hf_count: str
    hf_hidden: str
    hf_shared: str | None = None
    shared_gate: bool = False


@dataclass(frozen=True)
class ExpertMixture:
    """Hyper-parameters of the mixtures of a model.

    Attributes
    ----------
    count, used, hidden : int
        Experts, those that a row passes, and their hidden width.
    factor : Fraction
        What all weights are multiplied by.
    dense : tuple of int
        Layers with an ordinary feed-forward net.
    shared : int
        The hidden width of the expert that all rows pass; 0: there is none.
    """

    count: int
    used: int
    hidden: int
    weights: ExpertWeights
    factor: Fraction
    dense: tuple[int, ...]
    shared: int
    shared_gate: bool


def read_gguf_mixture(m: Metadata, form: MixtureForm, layers: int) -> ExpertMixture | None:
    """Read the mixture of a GGUF file; None if it has no experts."""
    if not m.integer("expert_count", 0, least=0, most=_MOST):
        return None
    m.refuse_features(
        {
            "expert_gating_func": (0, 1),
            "expert_group_count": (0, 1),
            "interleave_moe_layer_step": (0, 1),
            "moe_every_n_layers": (0, 1),
        }
    )
    count, used = _counts(m, "expert_count", "expert_used_count")
    hidden = m.integer("expert_feed_forward_length", m.integer("feed_forward_length"))
    shared = m.integer("expert_shared_feed_forward_length", 0, least=0) if form.hf_shared else 0
    return ExpertMixture(
        count,
        used,
        hidden,
        _weights(m.flag("expert_weights_norm", form.weights == "softmax of chosen")),
        Fraction(repr(m.number("expert_weights_scale", 1.0, most=3.9) if m.get("expert_weights_scale") else 1.0)),
        tuple(range(m.integer("leading_dense_block_count", 0, least=0, most=layers))),
        shared,
        form.shared_gate,
    )


def read_hf_mixture(m: Metadata, form: MixtureForm, layers: int) -> ExpertMixture:
    """Read the mixture of a config.json."""
    count, used = _counts(m, form.hf_count, "num_experts_per_tok")
    step = m.integer("decoder_sparse_step", 1)
    alone = m.get("mlp_only_layers") or ()
    if not isinstance(alone, list | tuple) or not all(isinstance(i, int) for i in alone):
        m.refuse("mlp_only_layers", "a list of layers", alone)
    return ExpertMixture(
        count,
        used,
        m.integer(form.hf_hidden),
        _weights(m.flag("norm_topk_prob", form.weights == "softmax of chosen")),
        Fraction(1),
        tuple(i for i in range(layers) if i in alone or (i + 1) % step),
        m.integer(form.hf_shared, 0, least=0) if form.hf_shared else 0,
        form.shared_gate,
    )


def _counts(m: Metadata, count_key: str, used_key: str) -> tuple[int, int]:
    count = m.integer(count_key, most=_MOST)
    return count, m.integer(used_key, most=count)


def _weights(normalized: bool) -> ExpertWeights:
    return "softmax of chosen" if normalized else "softmax"


def split_experts(tensors: Mapping[str, Tensor], count: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a GGUF file, the stacked matrices of experts one by one, with a number in their names."""
    for name, tensor in tensors.items():
        match = _STACKED.fullmatch(name)
        if name.endswith(f"{SHARED_GATE}.weight") and len(tensor.shape) == 1:
            yield name, Tensor(name, tensor.kind, (1, *tensor.shape), tensor.data)
            continue
        if match is None or len(tensor.shape) < 2 or tensor.shape[0] != count:
            yield name, tensor
            continue
        rows = tensor.shape[1]
        flat = Tensor(name, tensor.kind, (count * rows, *tensor.shape[2:]), tensor.data)
        for part in split_rows(flat, {f"{match[1]}.{e}.{match[2]}": rows for e in range(count)}):
            yield part.name, part


def numbered(part: str) -> tuple[str, str] | None:
    """Return a part of a layer's tensor name with an asterisk in the place of an expert's number, and the number."""
    match = re.fullmatch(r"(.*?)\.(\d+)(\..+|)", part)
    return (f"{match[1]}.*{match[3]}", match[2]) if match else None
