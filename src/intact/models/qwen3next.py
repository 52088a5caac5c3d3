"""Qwen3-Next: Qwen3.5 MoE's layers, inputs of delta nets stored by key head (arXiv 2412.06464, 2505.06708)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.quantised.parts import Converted
from intact.models.config import Config
from intact.models.delta_nets import DeltaMixtures
from intact.models.names import PARTS, pick_rows
from intact.numerics.delta import DeltaShape

_INPUTS: Final = re.compile(r"(?:model\.layers|blk)\.(\d+)\.(linear_attn\.in_proj_(?:qkvz|ba)|ssm_in|ssm_ba)\.weight")
_STEMS: Final = {
    "linear_attn.in_proj_qkvz": "delta_qkvz",
    "linear_attn.in_proj_ba": "ssm_ba",
    "ssm_in": "delta_qkvz",
    "ssm_ba": "ssm_ba",
}


class Qwen3Next(DeltaMixtures):
    """Rows are grouped by key head: its query, its key, and its values and z; likewise b and dt."""

    gguf = "qwen3next"
    hf = ("Qwen3NextForCausalLM",)
    hf_defaults: ClassVar[dict[str, Any]] = DeltaMixtures.hf_defaults | {
        "num_experts": 512,
        "num_experts_per_tok": 10,
        "intermediate_size": 5632,
    }
    fused: ClassVar[Mapping[str, str]] = {
        "delta_qkvz": "linear_attn.in_proj_qkvz",
        "ssm_ba": "linear_attn.in_proj_ba",
    }
    gguf_fused = ("ssm_ba",)
    gguf_tiles = False

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Split fused tensors, including the input matrices of delta nets.

        Older GGUF files also fuse queries, keys, values and z, in the order of safetensors.
        """
        assert config.delta is not None
        tensors: dict[str, Tensor] = {}
        for name, tensor in checkpoint.tensors.items():
            if match := _INPUTS.fullmatch(name):
                parts = cls.inputs(checkpoint, config.delta, tensor, layer=match[1], stem=_STEMS[match[2]])
                tensors |= {part.name: part for part in parts}
            else:
                tensors[name] = tensor
        return super().split(Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors), config)

    @classmethod
    def inputs(
        cls, checkpoint: Checkpoint, shape: DeltaShape, tensor: Tensor, *, layer: str, stem: str
    ) -> Iterator[Tensor]:
        """Yield the matrices of a tensor grouped by key head, each with the rows of all heads in order."""
        each = shape.heads // shape.groups
        if stem == "ssm_ba":
            parts = [[each], [each]]
        else:
            parts = [[shape.states, shape.states, each * shape.width], [each * shape.width]]
        total = sum(sum(part) for part in parts)
        if len(tensor.shape) != 2 or tensor.shape[0] != shape.groups * total:
            what = f"shape {tensor.shape}, expected {total} rows for each of {shape.groups} key heads"
            raise ModelError(f"{checkpoint.path}: tensor {tensor.name} has {what}")
        order, begin = np.arange(tensor.shape[0]).reshape(shape.groups, total), 0
        for own, sizes in zip(PARTS[stem], parts, strict=True):
            rows = []
            for size in sizes:
                rows.append(order[:, begin : begin + size].ravel())
                begin += size
            name = f"blk.{layer}.{own}.weight"
            name = name if checkpoint.format == "gguf" else cls.hf_name(name)
            yield _rows(tensor, name, np.concatenate(rows))


def _rows(tensor: Tensor, name: str, rows: NDArray[np.int64]) -> Tensor:
    """Return some rows of a stored matrix as a tensor that is created when its data are requested."""
    shape = (len(rows), *tensor.shape[1:])
    return Converted(name, tensor.kind, shape, (tensor,), make=lambda: pick_rows(tensor, name, rows).data)
