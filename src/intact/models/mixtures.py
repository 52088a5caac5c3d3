"""Mixtures of experts: their hyper-parameters, and the stacked matrices in which files store them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NamedTuple

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.names import GGUF_LAYER, split_rows
from intact.numerics.experts import ExpertWeights

ROUTER: Final = "ffn_gate_inp"
EXPERTS: Final = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
SHARED: Final = ("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp")
SHARED_GATE: Final = "ffn_gate_inp_shexp"
CHOICE_BIAS: Final = "exp_probs_b"
HF_CHOICE_BIAS: Final = {"mlp.gate.e_score_correction_bias": f"{CHOICE_BIAS}.bias"}
"""DeepSeek's name for the biases used to choose experts, and the canonical name."""
HF_COUNTS: Final = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Keys in config.json for the number of experts. Each architecture uses one of them; some versions of Transformers
write a different one in addition or instead (`attribute_map`).
"""
GGUF_STACKED: Final = {stem: (stem,) for stem in EXPERTS} | {"ffn_gate_up_exps": EXPERTS[:2]}
"""GGUF tensors that hold the matrices of all experts."""
_MOST = 1024
_HF_STACKED: Final = re.compile(r"model\.(?:language_model\.)?layers\.(\d+)\.(.+?)(?:\.(weight|bias))?")
"""Tensor names within a layer of safetensors; tensors of all experts may lack `.weight` or `.bias`."""


class MixtureForm(NamedTuple):
    """Keys and defaults that describe the mixtures in an architecture's files.

    Attributes
    ----------
    weights : str
        Computation of the experts' weights from their scores, if a file does not specify whether they are normalised.
    hf_count, hf_hidden : str
        Keys in config.json of the number of experts and of their hidden width.
    hf_shared : str, optional
        Key of the hidden width of the shared expert.
    shared_gate : bool
        If true, the shared expert's result is multiplied by the sigmoid of a score.
    hf_shared_count : str, optional
        Key of the number of shared experts, if files specify it instead of their width, which is then that number times
        `hf_hidden`.
    hf_dense, hf_factor, hf_bias : str, optional
        Keys of the number of first layers without experts, of the factor of all weights, and of the flag for choosing
        experts with a bias (by default true); GGUF files of such an architecture contain the bias.
    hf_groups : pair of str, optional
        Keys of the number of expert groups and of the number of groups used per row; None: no groups.
    """

    weights: ExpertWeights
    hf_count: str
    hf_hidden: str
    hf_shared: str | None = None
    shared_gate: bool = False
    hf_dense: str | None = None
    hf_factor: str | None = None
    hf_bias: str | None = None
    hf_shared_count: str | None = None
    hf_groups: tuple[str, str] | None = None

    @property
    def sigmoid(self) -> bool:
        """If true, weights are sigmoids of scores, otherwise a softmax."""
        return self.weights.startswith("sigmoid")


CHOSEN_BY_SIGMOIDS: Final = MixtureForm(
    "sigmoid of chosen",
    "n_routed_experts",
    "moe_intermediate_size",
    hf_dense="first_k_dense_replace",
    hf_factor="routed_scaling_factor",
    hf_bias="use_expert_bias",
    hf_shared_count="n_shared_experts",
    hf_groups=("n_group", "topk_group"),
)
"""DeepSeek V3's mixtures, also used by other architectures: experts chosen by sigmoids with per-expert biases."""
SIGMOID_SAMPLE: Final[dict[str, Any]] = {
    "expert_gating_func": 2,
    "expert_weights_norm": True,
    "expert_weights_scale": 0.5,
    "expert_count": 12,
    "expert_used_count": 4,
    "expert_shared_count": 1,
    "expert_feed_forward_length": 64,
    "leading_dense_block_count": 1,
}
"""GGUF keys of a small checkpoint with such mixtures (`Decoder.sample`)."""


@dataclass(frozen=True)
class ExpertMixture:
    """Hyper-parameters of a model's mixtures.

    Attributes
    ----------
    count, used, hidden : int
        Number of experts, number used per row, and hidden width.
    factor : Fraction
        Factor of all weights.
    dense : tuple of int
        Layers with an ordinary feed-forward network.
    shared : int
        Hidden width of the shared expert; 0: none.
    biased : bool
        If true, experts are chosen by the sums of their sigmoids and biases.
    groups, groups_used : int
        Number of expert groups, and number of groups used per row.
    """

    count: int
    used: int
    hidden: int
    weights: ExpertWeights
    factor: Fraction
    dense: tuple[int, ...]
    shared: int
    shared_gate: bool
    biased: bool = False
    groups: int = 1
    groups_used: int = 1


def read_gguf_mixture(m: Metadata, form: MixtureForm, layers: int) -> ExpertMixture | None:
    """Read the mixture of a GGUF file; None if it has no experts."""
    if not m.integer("expert_count", 0, least=0, most=_MOST):
        return None
    m.refuse_features(
        {
            "expert_gating_func": (2,) if form.sigmoid else (0, 1),
            **({} if form.hf_groups else {"expert_group_count": (0, 1)}),
            "interleave_moe_layer_step": (0, 1),
            "moe_every_n_layers": (0, 1),
        }
    )
    count, used = _counts(m, "expert_count", "expert_used_count")
    hidden = m.integer("expert_feed_forward_length", m.integer("feed_forward_length"))
    shared = m.integer("expert_shared_feed_forward_length", 0, least=0) if form.hf_shared else 0
    if form.hf_shared_count:
        shared = hidden * m.integer("expert_shared_count", 0, least=0, most=_MOST)
    return ExpertMixture(
        count=count,
        used=used,
        hidden=hidden,
        weights=_weights(form, m.flag("expert_weights_norm", form.weights.endswith("of chosen"))),
        factor=Fraction(
            repr(m.number("expert_weights_scale", 1.0, most=3.9) if m.get("expert_weights_scale") else 1.0)
        ),
        dense=tuple(range(m.integer("leading_dense_block_count", 0, least=0, most=layers))),
        shared=shared,
        shared_gate=form.shared_gate,
        biased=form.hf_bias is not None,
        **_groups(m, ("expert_group_count", "expert_group_used_count") if form.hf_groups else None, count, used),
    )


def read_hf_mixture(m: Metadata, form: MixtureForm, layers: int) -> ExpertMixture:
    """Read the mixture of a config.json."""
    count, used = _counts(m, form.hf_count, "num_experts_per_tok")
    step = m.integer("decoder_sparse_step", 1)
    dense = m.integer(form.hf_dense, 0, least=0, most=layers) if form.hf_dense else 0
    alone = m.get("mlp_only_layers") or ()
    hidden = m.integer(form.hf_hidden)
    shared = m.integer(form.hf_shared, 0, least=0) if form.hf_shared else 0
    if form.hf_shared_count:
        shared = hidden * m.integer(form.hf_shared_count, 0, least=0, most=_MOST)
    if not isinstance(alone, list | tuple) or not all(isinstance(i, int) for i in alone):
        m.refuse("mlp_only_layers", "a list of layers", alone)
    kinds = m.get("mlp_layer_types")
    if kinds is None:
        kinds = ["dense" if i in alone or (i + 1) % step or i < dense else "sparse" for i in range(layers)]
    if not (isinstance(kinds, list) and len(kinds) == layers and all(kind in ("dense", "sparse") for kind in kinds)):
        m.refuse("mlp_layer_types", f"a list with dense or sparse for each of {layers} layers", kinds)
    return ExpertMixture(
        count=count,
        used=used,
        hidden=hidden,
        weights=_weights(form, m.flag("norm_topk_prob", form.weights.endswith("of chosen"))),
        factor=Fraction(repr(m.number(form.hf_factor, 1.0, most=3.9))) if form.hf_factor else Fraction(1),
        dense=tuple(i for i, kind in enumerate(kinds) if kind == "dense"),
        shared=shared,
        shared_gate=form.shared_gate,
        biased=form.hf_bias is not None and m.flag(form.hf_bias, True),
        **_groups(m, form.hf_groups, count, used),
    )


def _counts(m: Metadata, count_key: str, used_key: str) -> tuple[int, int]:
    count = m.integer(count_key, most=_MOST)
    return count, m.integer(used_key, most=count)


def _groups(m: Metadata, keys: tuple[str, str] | None, count: int, used: int) -> dict[str, int]:
    """Read the fields `groups` and `groups_used` of a mixture; both are 1 if there are no groups."""
    groups = m.integer(keys[0], 1, least=0, most=count) if keys and m.get(keys[0]) is not None else 1
    if keys is None or groups <= 1:
        return {"groups": 1, "groups_used": 1}
    some = m.integer(keys[1], groups, most=groups)
    if count % groups or (some < groups and count // groups < 2) or used > count // groups * some:
        m.refuse(
            keys[0],
            f"a number of groups that divides {count} experts so that {some} groups have at least {used} experts",
            groups,
        )
    return {"groups": groups, "groups_used": some}


def _weights(form: MixtureForm, normalized: bool) -> ExpertWeights:
    if form.sigmoid:
        return "sigmoid of chosen" if normalized else "sigmoid"
    return "softmax of chosen" if normalized else "softmax"


def split_experts(
    checkpoint: Checkpoint,
    count: int,
    stacked: Mapping[str, tuple[str, ...]],
    rename: Callable[[str], str] = lambda name: name,
) -> Checkpoint:
    """Return a checkpoint in which each expert's matrices and biases are separate tensors.

    Parameters
    ----------
    count : int
        Number of experts. A tensor with a different number is left unchanged: the router, which is read first, then
        differs too.
    stacked : mapping
        Map of the names, within a layer, of tensors that hold all experts to the canonical stems of each expert's
        matrices, in order.
    rename : function
        Maps canonical names to names in the file's format.

    Raises
    ------
    ModelError
        If an expert's rows are not a whole number of matrices or blocks.
    """
    pattern = GGUF_LAYER if checkpoint.format == "gguf" else _HF_STACKED
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        match = pattern.fullmatch(name)
        if match and match[2] == SHARED_GATE and len(tensor.shape) == 1:  # a row, as llama.cpp stores it
            tensor = Tensor(name, tensor.kind, (1, *tensor.shape), tensor.data)
        stems = stacked.get(match[2]) if match else None
        if match is None or stems is None or len(tensor.shape) < 2 or tensor.shape[0] != count:
            tensors[name] = tensor
            continue
        rows, rest = divmod(tensor.shape[1], len(stems))
        if rest:
            what = f"{len(stems)} matrices of each of {count} experts"
            raise ModelError(f"{checkpoint.path}: tensor {name} has shape {tensor.shape}, expected {what}")
        end = match[3] or "weight"
        names = [rename(f"blk.{match[1]}.{stem}.{e}.{end}") for e in range(count) for stem in stems]
        flat = Tensor(name, tensor.kind, (count * tensor.shape[1], *tensor.shape[2:]), tensor.data)
        try:
            tensors |= {part.name: part for part in split_rows(flat, dict.fromkeys(names, rows))}
        except ModelError as error:
            raise ModelError(f"{checkpoint.path}: {error}") from error
    return Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors)


def numbered(part: str) -> tuple[str, str] | None:
    """Return part of a tensor name with an expert's number replaced by an asterisk, and the number."""
    match = re.fullmatch(r"(.*?)\.(\d+)(\..+|)", part)
    return (f"{match[1]}.*{match[3]}", match[2]) if match else None
