"""Qwen3-VL with experts, text only: Qwen3 MoE architecture (arXiv 2511.21631)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.quantised.parts import Converted
from intact.models.config import Config
from intact.models.qwen3moe import Qwen3Moe
from intact.numerics.weight_formats import FLOAT_FORMATS, Bytes

_STACKED: Final = re.compile(r"(model\.(?:language_model\.)?layers\.\d+\.mlp\.experts\.)(gate_up|down)_proj")


class Qwen3VlMoe(Qwen3Moe):
    """Folders hold the matrices of all experts as one tensor: inputs by outputs, or as Transformers 5 writes them."""

    gguf = "qwen3vlmoe"
    hf = ("Qwen3VLMoeForConditionalGeneration",)
    hf_refused = {"decoder_sparse_step": (1,)}

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Return a checkpoint in which each matrix is a separate tensor, outputs by inputs."""
        if checkpoint.format != "gguf" and config.mixture:
            width, hidden, count = config.width, config.mixture.hidden, config.mixture.count
            stacked = [tensor.shape for tensor in checkpoint.tensors.values() if _is_stacked(tensor, count)]
            turned = {shape[1:] for shape in stacked} <= {(width, 2 * hidden), (hidden, width)}
            tensors = dict[str, Tensor]()
            for tensor in checkpoint.tensors.values():
                parts = _apart(tensor, turned) if _is_stacked(tensor, count) else (tensor,)
                tensors |= {part.name: part for part in parts}
            checkpoint = Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors)
        return super().split(checkpoint, config)


def _is_stacked(tensor: Tensor, count: int) -> bool:
    """Return true for a tensor that holds the matrices of `count` experts."""
    form = tensor.kind in FLOAT_FORMATS and len(tensor.shape) == 3 and tensor.shape[0] == count
    return form and _STACKED.fullmatch(tensor.name) is not None


def _apart(tensor: Tensor, turned: bool) -> Iterator[Tensor]:
    """Yield the matrices of single experts from a tensor; `turned` if it stores them as inputs by outputs."""
    match = _STACKED.fullmatch(tensor.name)
    assert match is not None
    turns = ("gate", "up") if match[2] == "gate_up" else ("down",)
    outputs, columns = tensor.shape[1:][::-1] if turned else tensor.shape[1:]
    rows = outputs // len(turns)
    for e in range(tensor.shape[0]):
        for i, turn in enumerate(turns):
            stored = (tensor,) if e == i == 0 else ()
            make = partial(_rows, tensor, e, slice(i * rows, (i + 1) * rows), turned=turned)
            yield Converted(f"{match[1]}{e}.{turn}_proj.weight", tensor.kind, (rows, columns), stored, make=make)


def _rows(tensor: Tensor, expert: int, rows: slice, turned: bool) -> Bytes:
    """Return the bytes of some outputs of an expert, each with its inputs."""
    values = tensor.data.reshape(*tensor.shape, -1)[expert]
    return np.ascontiguousarray((values.swapaxes(0, 1) if turned else values)[rows]).reshape(-1)
