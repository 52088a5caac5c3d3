"""gpt-oss: experts with biases and a clipped gate, attention sinks, alternating windows, YaRN (arXiv 2508.10925)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.parts import Converted
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.mixtures import EXPERTS, ROUTER, MixtureForm
from intact.models.names import ATTENTION, HF_NAMES, NORMS_AFTER
from intact.numerics.weight_formats import Bytes

_STACKED = re.compile(r"(model\.layers\.\d+\.mlp\.experts\.)(gate_up|down)_proj(_bias)?")
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


class GptOss(Decoder):
    """The weights of the chosen experts are a softmax of their scores."""

    gguf = "gpt-oss"
    hf = ("GptOssForCausalLM",)
    hf_names = (
        HF_NAMES
        | NORMS_AFTER
        | {
            "ffn_gate_inp": "mlp.router",
            "ffn_gate_exps": "mlp.experts.*.gate_proj",
            "ffn_up_exps": "mlp.experts.*.up_proj",
            "ffn_down_exps": "mlp.experts.*.down_proj",
        }
    )
    hf_bare = {"self_attn.sinks": "attn_sinks.weight"}
    hf_defaults = {"head_dim": 64, "sliding_window": 128, "num_local_experts": 128, "num_experts_per_tok": 4}
    hf_refused = {"swiglu_limit": (7.0,), "swiglu_alpha": (1.702,)}
    activation = "swiglu_oai"
    sinks = True
    biases = dict.fromkeys((*ATTENTION, "attn_output", ROUTER, *EXPERTS), True)
    ffn_norm = "post_attention_norm"
    has_local_layers = True
    local_but_each = 2
    mixture = MixtureForm("softmax of chosen", "num_local_experts", "intermediate_size")
    sample = {
        "attention.sliding_window": 24,
        "expert_count": 6,
        "expert_used_count": 3,
        "expert_feed_forward_length": 64,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 8.0,
        "rope.scaling.original_context_length": 64,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read a GGUF file. There is no key for rounding the start of YaRN's blend; the authors do not round it."""
        config = super().read_gguf(m)
        return replace(config, rope_scaling={**config.rope_scaling, "truncate": False})

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Return a checkpoint in which each matrix is a separate tensor, named as in its format."""
        if checkpoint.format != "gguf" and config.mixture:
            tensors: dict[str, Tensor] = {}
            for tensor in checkpoint.tensors.values():
                tensors |= {part.name: part for part in _apart(tensor, config.mixture.count, str(checkpoint.path))}
            checkpoint = Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors)
        return super().split(checkpoint, config)


def _apart(tensor: Tensor, count: int, where: str) -> Iterator[Tensor]:
    """Yield the matrices or biases of single experts from a stacked tensor of a folder; yield other tensors unchanged.

    Outputs of gate and up alternate. Floats are stored as inputs by outputs, MXFP4 as outputs by inputs.
    """
    match = _STACKED.fullmatch(tensor.name)
    if match is None:
        yield tensor
        return
    begin, part, bias = match.groups()
    dimensions, turns = (2 if bias else 3), ("gate", "up") if part == "gate_up" else ("down",)
    if len(tensor.shape) != dimensions or tensor.shape[0] != count or (bias and tensor.kind not in _BYTES):
        expected = f"{count} experts' {'biases' if bias else 'matrices'}"
        raise ModelError(f"{where}: tensor {tensor.name} has shape {tensor.shape}, expected {expected}")
    columns = () if bias else (tensor.shape[1 if tensor.kind in _BYTES else 2],)
    outputs = tensor.shape[2 if tensor.kind in _BYTES and not bias else 1] // len(turns)
    stack = _Stack(tensor, count * len(turns))
    for e in range(count):
        for i, turn in enumerate(turns):
            name = f"{begin}{e}.{turn}_proj.{'bias' if bias else 'weight'}"
            stored = (tensor,) if e == i == 0 else ()
            make = partial(stack.part, e, i, len(turns))
            yield Converted(name, tensor.kind, (outputs, *columns), stored, make=make)


class _Stack:
    """A stacked tensor, rearranged once for all its parts and kept from the first request to the last."""

    def __init__(self, tensor: Tensor, parts: int) -> None:
        self._tensor, self._parts, self._left = tensor, parts, 0
        self._rows: NDArray[np.uint8] | None = None

    def part(self, expert: int, turn: int, turns: int) -> Bytes:
        """Return the bytes of an expert's matrix or bias: every `turns`-th output, starting at `turn`."""
        if self._rows is None:
            self._rows, self._left = _outputs(self._tensor), self._parts
        own = self._rows[expert, turn::turns].flatten()
        self._left -= 1
        if not self._left:
            self._rows = None
        return own


def _outputs(tensor: Tensor) -> NDArray[np.uint8]:
    """Return the bytes of a stacked tensor by expert and output: (experts, outputs, bytes)."""
    if len(tensor.shape) == 2 or tensor.kind not in _BYTES:
        return tensor.data.reshape(*tensor.shape[:2], -1)
    return tensor.data.reshape(*tensor.shape, -1).swapaxes(1, 2).reshape(tensor.shape[0], tensor.shape[2], -1)
