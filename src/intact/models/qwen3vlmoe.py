"""Qwen3-VL with experts, its text part: Qwen3 MoE's graph (arXiv 2511.21631)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from intact.formats import Checkpoint, Tensor
from intact.formats.quantised.parts import Converted
from intact.models.config import Config
from intact.models.qwen3moe import Qwen3Moe
from intact.weights import FLOAT_FORMATS, Bytes

_STACKED: Final = re.compile(r"(model\.(?:language_model\.)?layers\.\d+\.mlp\.experts\.)(gate_up|down)_proj")


class Qwen3VlMoe(Qwen3Moe):
    """Folders hold the matrices of all experts as one tensor, inputs by outputs."""

    gguf = "qwen3vlmoe"
    hf = ("Qwen3VLMoeForConditionalGeneration",)
    hf_refused = {"decoder_sparse_step": (1,)}

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Return a checkpoint in which each matrix is a tensor of its own, outputs by inputs."""
        if checkpoint.format != "gguf" and config.mixture:
            count, tensors = config.mixture.count, dict[str, Tensor]()
            for tensor in checkpoint.tensors.values():
                tensors |= {part.name: part for part in _apart(tensor, count)}
            checkpoint = Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors)
        return super().split(checkpoint, config)


def _apart(tensor: Tensor, count: int) -> Iterator[Tensor]:
    """Yield the matrices of experts that a tensor holds; one of another form as it is."""
    match = _STACKED.fullmatch(tensor.name)
    if match is None or tensor.kind not in FLOAT_FORMATS or len(tensor.shape) != 3 or tensor.shape[0] != count:
        yield tensor
        return
    turns = ("gate", "up") if match[2] == "gate_up" else ("down",)
    columns, rows = tensor.shape[1], tensor.shape[2] // len(turns)
    for e in range(count):
        for i, turn in enumerate(turns):
            stored = (tensor,) if e == i == 0 else ()
            make = partial(_rows, tensor, e, i * rows, rows)
            yield Converted(f"{match[1]}{e}.{turn}_proj.weight", tensor.kind, (rows, columns), stored, make)


def _rows(tensor: Tensor, expert: int, first: int, rows: int) -> Bytes:
    """Return the bytes of some outputs of an expert, each with its inputs."""
    values = tensor.data.reshape(*tensor.shape, -1)[expert, :, first : first + rows]
    return np.ascontiguousarray(values.swapaxes(0, 1)).reshape(-1)
