"""Names of tensors: GGUF's names, which are canonical here, and Transformers' names; splitting of fused matrices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Tensor
from intact.checkpoints.formats.tensor import byte_length
from intact.numerics.integers import INTEGER, from_bytes, to_bytes
from intact.numerics.weights import BlockWeight

ATTENTION: Final = ("attn_q", "attn_k", "attn_v")
FEED_FORWARD: Final = ("ffn_gate", "ffn_up", "ffn_down")
SCAN_INPUTS: Final = ("ssm_in_gate", "ssm_in_mixed", "ssm_in_steps")
"""Parts of a state-space layer's projection: the gate z; x, B and C; dt."""
SELECTIVE_INPUTS: Final = ("ssm_in_mixed", "ssm_in_gate")
"""Parts of a selective layer's projection: x, the gate z."""
SELECTIVE_PARTS: Final = ("ssm_x_steps", "ssm_x_b", "ssm_x_c")
"""Parts of the projection of the convolved x: the inputs of dt's projection, B, C."""
TRAPEZOIDAL_INPUTS: Final = ("ssm_in_gate", "ssm_in_mixed", "ssm_in_b", "ssm_in_c", "ssm_in_controls")
"""Parts of a trapezoidal layer's projection: the gate z, x, B, C; dt, A, the share and the angles."""
HF_NAMES: Final[dict[str, str]] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Map of GGUF tensor names, which are canonical here, to the names in most Transformers models."""
HF_EXPERTS: Final = {
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.*.gate_proj",
    "ffn_up_exps": "mlp.experts.*.up_proj",
    "ffn_down_exps": "mlp.experts.*.down_proj",
}
"""The most common names of a mixture's parts, with an asterisk for the expert's number."""
HF_SHARED_EXPERT: Final = {
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
}
"""Names of Qwen's shared expert and its gate."""
HF_SHARED_EXPERTS: Final = {
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
}
"""Names of DeepSeek's shared experts."""
NORMS_AFTER: Final = {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
"""The most common names of the norms applied to results before the residual sum."""
PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "attn_qkv": ATTENTION,
    "attn_kv_b": ("attn_k_b", "attn_v_b"),
    "ffn_up": ("ffn_gate", "ffn_up"),
    "ffn_up_shexp": ("ffn_gate_shexp", "ffn_up_shexp"),
    "ssm_in": SCAN_INPUTS,
    "selective_in": SELECTIVE_INPUTS,
    "ssm_x": SELECTIVE_PARTS,
    "trapezoidal_in": TRAPEZOIDAL_INPUTS,
    "ffn_up_gate": ("ffn_up", "ffn_gate"),
    "delta_qkvz": ("attn_qkv", "attn_gate"),
    "ssm_ba": ("ssm_beta", "ssm_alpha"),
}
"""Matrices that files may store fused, by GGUF name, with their component matrices in order."""
BY_HEAD: Final = ("attn_kv_b", "delta_qkvz", "ssm_ba")
"""Fused matrices whose rows are ordered by head, with all parts of a head together; `Decoder.split` of the architecture
splits them.
"""
GGUF_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)\.(weight|bias)")
HF_LAYER: Final = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias|hadamard|largest_input)")


def split_rows(tensor: Tensor, parts: Mapping[str, int]) -> list[Tensor]:
    """Return consecutive rows of a stored matrix, or values of a bias, as separate tensors.

    The tensors are views of the file's bytes, whatever the block type; integer weights are copied.

    Parameters
    ----------
    parts : mapping
        Names of the tensors, with their numbers of rows.

    Raises
    ------
    ModelError
        If the row counts do not add up.
    """
    if not tensor.shape or tensor.shape[0] != sum(parts.values()):
        sizes = " + ".join(map(str, parts.values()))
        raise ModelError(f"tensor {tensor.name} has shape {tensor.shape}, expected {sizes} rows")
    out, begin, data = [], 0, tensor.data
    weight = from_bytes(data) if tensor.kind == INTEGER else None
    for name, rows in parts.items():
        shape = (rows, *tensor.shape[1:])
        if weight is None:
            first, size = byte_length(tensor.kind, (begin, *tensor.shape[1:])), byte_length(tensor.kind, shape)
            if first is None or size is None:
                raise ModelError(
                    f"tensor {tensor.name} of shape {tensor.shape} has rows that are not a whole number of blocks"
                )
            out.append(Tensor(name, tensor.kind, shape, data[first : first + size]))
        else:
            out.append(Tensor(name, INTEGER, shape, to_bytes(rows_of(weight, slice(begin, begin + rows)))))
        begin += rows
    return out


def ungroup_heads(tensor: Tensor, heads: int, kv_heads: int, width: int) -> Tensor:
    """Return a matrix or bias with rows grouped by KV head (its queries, its key, its value) as queries, keys, values.

    The result is a copy; heads have `width` rows. A tensor with a different number of rows is returned unchanged.
    """
    per = heads // kv_heads
    order = np.arange((heads + 2 * kv_heads) * width).reshape(kv_heads, per + 2, width)
    rows = np.concatenate([order[:, :per].ravel(), order[:, per].ravel(), order[:, per + 1].ravel()])
    return tensor if not tensor.shape or tensor.shape[0] != len(rows) else pick_rows(tensor, tensor.name, rows)


def pick_rows(tensor: Tensor, name: str, rows: NDArray[np.int64]) -> Tensor:
    """Return a copy of some rows of a stored matrix, or values of a bias, in the given order, under another name."""
    if tensor.kind == INTEGER:
        data = to_bytes(rows_of(from_bytes(tensor.data), rows))
    else:
        data = tensor.data.reshape(tensor.shape[0], -1)[rows].ravel()
    return Tensor(name, tensor.kind, (len(rows), *tensor.shape[1:]), data)


def rows_of(weight: BlockWeight, rows: slice | NDArray[np.int64]) -> BlockWeight:
    """Return some rows of an integer weight."""
    return weight._replace(
        codes=weight.codes[rows],
        scale=weight.scale[rows],
        scale_exp=weight.scale_exp[rows],
        minimum=None if weight.minimum is None else weight.minimum[rows],
        minimum_exp=None if weight.minimum_exp is None else weight.minimum_exp[rows],
    )


def find_fused(
    names: Mapping[str, Tensor], gguf: bool, stems: Mapping[str, str]
) -> Iterator[tuple[str, str, str, str]]:
    """Find the fused tensors of a file; yield their names, layers, canonical names, and `weight` or `bias`.

    Parameters
    ----------
    stems : mapping
        Map of the file's names for fused matrices to keys of `PARTS`.
    """
    pattern = GGUF_LAYER if gguf else HF_LAYER
    for name in names:
        if (match := pattern.fullmatch(name)) and match[2] in stems:
            stem = stems[match[2]]
            if gguf and f"blk.{match[1]}.{PARTS[stem][0]}.{match[3]}" in names:
                continue  # `ffn_up` beside `ffn_gate` is itself alone
            yield name, match[1], stem, match[3]


def names_eagle_head(architecture: str) -> bool:
    """Return true for a name that a config.json uses for EAGLE-3 heads (`intact.models.eagle3`)."""
    return "eagle3" in architecture.lower()
