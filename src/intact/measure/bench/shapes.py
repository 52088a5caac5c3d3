"""Models with random weights in the shapes of well-known ones: measure a model's speed without its file.

Speed and memory depend only on shapes and formats, not on values. Weights come from SHAKE-128 over their tensor's name
(`intact.measure.conformance.synthetic`), so a shape is the same model, with the same digests, everywhere. A tensor is
generated on demand, and only its packed form is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_name
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.gguf_writer import FILE_TYPES, QUANTIZATION_VERSION, pair, write_gguf
from intact.checkpoints.formats.quantised.parts import Converted
from intact.checkpoints.formats.safetensors import Stored
from intact.checkpoints.formats.tensor import byte_length
from intact.measure.conformance.synthetic import random_floats, random_tensor
from intact.models import ARCHITECTURES
from intact.models.tensor_shapes import fused_shapes, tensor_shapes
from intact.numerics.weight_formats import FLOAT_FORMATS, Bytes


class ModelShape(NamedTuple):
    """The hyperparameters of a model, named as in its config.json."""

    architecture: str
    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    context: int
    base: float
    """Base of the rotary frequencies; long-context scaling is omitted, since it does not affect speed."""
    tied: bool
    experts: int = 0
    used: int = 0
    """Number of experts per row."""
    expert_hidden: int = 0
    own: Mapping[str, Any] = {}
    """Additional keys of a GGUF file, without the architecture's name."""


def _recurrent(heads: int, inner: int, states: int, groups: int, **more: Any) -> dict[str, Any]:
    """Return the sizes of recurrent layers: heads, total channels, columns of a state, groups."""
    sizes = {
        "conv_kernel": 4,
        "time_step_rank": heads,
        "inner_size": inner,
        "state_size": states,
        "group_count": groups,
    }
    return {**{f"ssm.{key}": value for key, value in sizes.items()}, **more}


_MAMBA2: Final = _recurrent(80, 5120, 128, 1)
_MAMBA: Final = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 5120,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 160,
}
_QWEN35: Final = _recurrent(32, 4096, 128, 16, full_attention_interval=4) | {"rope.dimension_count": 64}
SHAPES: Final = {
    "smollm2-135m": ModelShape(
        "llama", 30, 576, 1536, heads=9, kv_heads=3, head_width=64, vocabulary=49152, context=8192,
        base=1e5, tied=True,
    ),
    "qwen2.5-0.5b": ModelShape(
        "qwen2", 24, 896, 4864, heads=14, kv_heads=2, head_width=64, vocabulary=151936, context=32768,
        base=1e6, tied=True,
    ),
    "llama-1b": ModelShape(
        "llama", 16, 2048, 8192, heads=32, kv_heads=8, head_width=64, vocabulary=128256, context=131072,
        base=5e5, tied=True,
    ),
    "qwen2.5-1.5b": ModelShape(
        "qwen2", 28, 1536, 8960, heads=12, kv_heads=2, head_width=128, vocabulary=151936, context=32768,
        base=1e6, tied=True,
    ),
    "matmul-free-2.7b": ModelShape(
        "hgrn_bit", 32, 2560, 6912, heads=1, kv_heads=1, head_width=2, vocabulary=32000, context=2048,
        base=1e4, tied=False,
    ),
    "mamba2-2.7b": ModelShape(
        "mamba2", 64, 2560, 1, heads=1, kv_heads=1, head_width=2, vocabulary=50288, context=1 << 19,
        base=1e4, tied=True, own=_MAMBA2,
    ),
    "mamba-2.8b": ModelShape(
        "mamba", 64, 2560, 1, heads=1, kv_heads=1, head_width=2, vocabulary=50280, context=1 << 19,
        base=1e4, tied=True, own=_MAMBA,
    ),
    "llama-3b": ModelShape(
        "llama", 28, 3072, 8192, heads=24, kv_heads=8, head_width=128, vocabulary=128256, context=131072,
        base=5e5, tied=True,
    ),
    "qwen3-4b": ModelShape(
        "qwen3", 36, 2560, 9728, heads=32, kv_heads=8, head_width=128, vocabulary=151936, context=40960,
        base=1e6, tied=True,
    ),
    "llama-8b": ModelShape(
        "llama", 32, 4096, 14336, heads=32, kv_heads=8, head_width=128, vocabulary=128256, context=131072,
        base=5e5, tied=False,
    ),
    "qwen3-8b": ModelShape(
        "qwen3", 36, 4096, 12288, heads=32, kv_heads=8, head_width=128, vocabulary=151936, context=40960,
        base=1e6, tied=False,
    ),
    "olmoe-7b": ModelShape(
        "olmoe", 16, 2048, 1024, heads=16, kv_heads=16, head_width=128, vocabulary=50304, context=4096,
        base=1e4, tied=False, experts=64, used=8, expert_hidden=1024,
    ),
    "qwen3.5-9b": ModelShape(
        "qwen35", 32, 4096, 12288, heads=16, kv_heads=4, head_width=256, vocabulary=248320, context=32768,
        base=1e7, tied=False, own=_QWEN35,
    ),
    "phi-4": ModelShape(
        "phi3", 40, 5120, 17920, heads=40, kv_heads=10, head_width=128, vocabulary=100352, context=16384,
        base=2.5e5, tied=False,
    ),
    "gpt-oss-20b": ModelShape(
        "gpt-oss", 24, 2880, 2880, heads=64, kv_heads=8, head_width=64, vocabulary=201088, context=131072,
        base=1.5e5, tied=False, experts=32, used=4, expert_hidden=2880,
    ),
    "qwen3-30b-a3b": ModelShape(
        "qwen3moe", 48, 2048, 6144, heads=32, kv_heads=4, head_width=128, vocabulary=151936, context=40960,
        base=1e6, tied=False, experts=128, used=8, expert_hidden=768,
    ),
    "llama-70b": ModelShape(
        "llama", 80, 8192, 28672, heads=64, kv_heads=8, head_width=128, vocabulary=128256, context=131072,
        base=5e5, tied=False,
    ),
}  # fmt: skip
"""Shapes by name, smallest first."""

_MEANS: Final = {".bias": 0.0, ".ssm_a": -1.0, ".hgrn_room.weight": 0.5}
"""Means of the numbers in vectors other than gains, by name suffix."""
_CONTROLS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_LETTERS: Final = "etaoinshrdlucmfwypvbgkjqxz"
_EPSILON: Final = float(np.float32(1e-5))
"""Epsilon of norms, rounded to float32 as in a file."""


def _byte_spellings() -> list[str]:
    """Return the characters that byte-level BPE uses to represent the 256 bytes (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def tokenizer_metadata(vocabulary: int) -> dict[str, Any]:
    """Return a byte-level tokenizer: three control tokens, 256 bytes, letter pairs, and names that never occur in text.

    Raises
    ------
    ParameterError
        If the vocabulary is too small for the control tokens and bytes.
    """
    bytes_ = _byte_spellings()
    room = vocabulary - len(_CONTROLS) - len(bytes_)
    if room < 0:
        raise ParameterError(f"a vocabulary must have at least {len(_CONTROLS) + len(bytes_)} tokens, got {vocabulary}")
    pairs = [(a, b) for a in "Ġ" + _LETTERS for b in _LETTERS][:room]
    rest = [f"<unused{i}>" for i in range(room - len(pairs))]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [*_CONTROLS, *bytes_, *(a + b for a, b in pairs), *rest],
        "tokenizer.ggml.token_type": [3] * len(_CONTROLS) + [1] * (vocabulary - len(_CONTROLS)),
        "tokenizer.ggml.merges": [f"{a} {b}" for a, b in pairs],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
    }


def random_checkpoint(name: str, kind: str = "Q4_0", shape: ModelShape | None = None) -> Checkpoint:
    """Return a model of a given shape; its tensors are generated when their data are requested.

    Parameters
    ----------
    name : str
        A key of `SHAPES`; any name if a custom shape is given.
    kind : str
        The format of all matrices, including embeddings: one that GGUF files support (`weight_formats.FORMATS`).
    shape : ModelShape, optional
        The shape with this name by default.

    Raises
    ------
    ParameterError
        If the shape or format does not exist, or rows are not a whole number of its blocks.
    """
    if shape is None:
        if name not in SHAPES:
            raise ParameterError(unknown_name(f"no shape named {name!r}", name, SHAPES))
        shape = SHAPES[name]
    if kind not in FILE_TYPES:
        raise ParameterError(unknown_name(f"no type named {kind!r}", kind, FILE_TYPES))
    metadata = _metadata(name, shape, kind)
    path = Path(f"{name}-{kind}")
    architecture = ARCHITECTURES[shape.architecture]
    described = Checkpoint(path, "gguf", metadata, {})
    tensors: dict[str, Tensor] = {}
    sizes = tensor_shapes(architecture, described, shape.vocabulary, shape.tied)
    fused = fused_shapes(sizes, architecture.gguf_fused, stacked=False, stems=architecture.gguf_stems)
    for tensor, size in fused.items():
        matrix = len(size) == 2 and not tensor.endswith(".ssm_a")
        own = kind if matrix and not tensor.endswith(".ssm_conv1d.weight") else "F32"
        if byte_length(own, size) is None:
            raise ParameterError(f"{name}: rows of {size[-1]} values are not a whole number of blocks of {kind}")
        make = partial(_matrix, tensor, own, size) if matrix else partial(_vector, tensor, size)
        tensors[tensor] = Converted(tensor, own, size, (), make=make)
    return Checkpoint(path, "gguf", metadata, tensors)


def write_random(checkpoint: Checkpoint, path: Path) -> None:
    """Write a model as a GGUF file, keeping only one tensor in memory at a time.

    Raises
    ------
    OSError
        If it cannot be written; no partial file is left behind.
    """
    pairs = {key: pair(key, value) for key, value in checkpoint.metadata.items()}
    stacks: dict[str, list[Tensor]] = {}
    for name, tensor in checkpoint.tensors.items():
        parts = name.split(".")  # an expert's number precedes the last part
        of_experts = len(parts) == 5 and parts[3].isdigit()
        stacks.setdefault(".".join((*parts[:3], parts[4])) if of_experts else name, []).append(tensor)
    stored = []
    for name, some in stacks.items():
        shape = some[0].shape if len(some) == 1 else (len(some), *some[0].shape)
        stored.append(Stored(name, some[0].kind, shape, byte_length(some[0].kind, shape) or 0))
    write_gguf(path, pairs, stored, lambda name: np.concatenate([tensor.data for tensor in stacks[name]]))


def _metadata(name: str, shape: ModelShape, kind: str) -> Mapping[str, Any]:
    a = shape.architecture + "."
    experts = {
        "expert_count": shape.experts,
        "expert_used_count": shape.used,
        "expert_feed_forward_length": shape.expert_hidden,
    }
    return {
        "general.architecture": shape.architecture,
        "general.name": f"{name} with random weights",
        "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": QUANTIZATION_VERSION,
        a + "block_count": shape.layers,
        a + "context_length": shape.context,
        a + "embedding_length": shape.width,
        a + "feed_forward_length": shape.hidden,
        a + "attention.head_count": shape.heads,
        a + "attention.head_count_kv": shape.kv_heads,
        a + "attention.key_length": shape.head_width,
        a + "attention.value_length": shape.head_width,
        a + "attention.layer_norm_rms_epsilon": _EPSILON,
        a + "rope.dimension_count": shape.head_width,
        a + "rope.freq_base": shape.base,
        **({a + key: value for key, value in experts.items()} if shape.experts else {}),
        **{a + key: value for key, value in shape.own.items()},
        **tokenizer_metadata(shape.vocabulary),
    }


def _matrix(name: str, kind: str, shape: tuple[int, ...]) -> Bytes:
    size = shape[1] ** -0.5
    if kind in FLOAT_FORMATS:  # drawn row by row, since each byte takes several of SHAKE's
        rows = [random_tensor(f"{name}|{i}", kind, (1, shape[1]), size) for i in range(shape[0])]
        return np.frombuffer(b"".join(rows), np.uint8).copy()
    return np.frombuffer(random_tensor(name, kind, shape, size), np.uint8).copy()


def _vector(name: str, shape: tuple[int, ...]) -> Bytes:
    mean = next((mean for end, mean in _MEANS.items() if name.endswith(end)), 1.0)
    return (random_floats(name, shape, 0.1) + np.float32(mean)).astype("<f4").view(np.uint8)
