"""The parts that decoder architectures share. An architecture is a subclass of Decoder of a few lines."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from intact.errors import ModelError
from intact.formats import Checkpoint, Tensor
from intact.models.config import Config, canonical_tensors, hf_name, read_config
from intact.models.program import Attend, Buffer, Embed, Gate, Linear, Logits, Norm, Op, Program, Rope, Target
from intact.numerics.rope import rotation


def inverse_root(x: float) -> Fraction:
    """1 / sqrt(x) to 60 bits, as a Fraction."""
    exact = Fraction(x)
    return Fraction(1 << 60, math.isqrt((exact.numerator << 120) // exact.denominator))


def float_values(tensor: Tensor, length: int, where: object) -> NDArray[np.float32]:
    """A vector stored as F32, F16 or BF16, as float32."""
    if tensor.shape != (length,):
        raise ModelError(f"{where}: tensor {tensor.name} has shape {tensor.shape}, expected ({length},)")
    if tensor.kind == "F32":
        values = tensor.data.view(np.float32)
    elif tensor.kind == "F16":
        values = tensor.data.view(np.float16).astype(np.float32)
    elif tensor.kind == "BF16":
        values = (tensor.data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        raise ModelError(f"{where}: tensor {tensor.name} is {tensor.kind}, expected F32, F16 or BF16")
    if not np.all(np.isfinite(values)):
        raise ModelError(
            f"{where}: tensor {tensor.name} has NaN or infinite values (first at {np.argmin(np.isfinite(values))})"
        )
    return values


class Decoder(ABC):
    """Builds the Program of one architecture: attention and gated feed-forward nets around a residual stream."""

    gguf: ClassVar[str]
    """Name of the architecture in GGUF (general.architecture)."""
    hf: ClassVar[tuple[str, ...]]
    """Names in config.json (architectures)."""
    activation: ClassVar[Literal["silu", "gelu"]] = "silu"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.path = checkpoint.path
        self.config: Config = read_config(checkpoint, self.gguf)
        self.tensors = canonical_tensors(checkpoint, self.gguf)
        self.used: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.gain_offset = 0.0

    @abstractmethod
    def layer(self, i: int) -> None:
        """Append the operations of layer i."""

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """The kinds of rotary layers."""
        c = self.config
        factors = None
        if "rope_freqs.weight" in self.tensors:
            factors = float_values(self.tensor("rope_freqs.weight"), c.rope_width // 2, self.path)
        return (rotation(c.rope_base, c.rope_width, c.rope_scaling, factors),)

    def embed(self) -> None:
        """Append the embedding."""
        self.ops.append(Embed("x", self.matrix("token_embd.weight", None, self.config.width)))

    def buffers(self) -> dict[str, Buffer]:
        """The row vectors: residual stream, its norm, query, key, value, attention's result, gate, up, hidden."""
        c = self.config
        keys = c.kv_heads * c.head_width
        return {
            "x": Buffer(c.width, wide=True),
            "normed": Buffer(c.width),
            "q": Buffer(c.heads * c.head_width),
            "k": Buffer(keys),
            "v": Buffer(keys),
            "attended": Buffer(c.heads * c.head_width),
            "gate": Buffer(c.hidden),
            "up": Buffer(c.hidden),
            "hidden": Buffer(c.hidden, wide=True),
        }

    def build(self) -> Program:
        """The whole program."""
        c = self.config
        self.embed()
        for i in range(c.layers):
            self.layer(i)
        self.norm("x", "normed", "output_norm.weight")
        vocabulary = self.used["token_embd.weight"].shape[0]
        if c.vocabulary not in (None, vocabulary):
            raise ModelError(
                f"{self.path}: tensor token_embd.weight has {vocabulary} rows, but vocab_size is {c.vocabulary}"
            )
        tied = "output.weight" not in self.tensors if c.tied is None else c.tied
        head = "token_embd.weight" if tied else "output.weight"
        self.ops.append(Logits("normed", self.matrix(head, vocabulary, c.width)))
        rotations = self.rotations()
        self.refuse_unused({"output.weight"} if tied else set())
        return Program(
            architecture=self.gguf,
            buffers=self.buffers(),
            ops=tuple(self.ops),
            tensors=self.used,
            rotations=rotations,
            layers=c.layers,
            kv_heads=c.kv_heads,
            head_width=c.head_width,
            vocabulary=vocabulary,
            context=c.context,
        )

    # The vocabulary of a builder: each method appends one operation and checks the tensors that it names.

    def tensor(self, name: str) -> Tensor:
        """A tensor by its canonical name, noted as used."""
        if name not in self.tensors:
            own = name if self.config.from_gguf else hf_name(name, self.gguf)
            raise ModelError(f"{self.path}: tensor {own} is missing; a {self.gguf} model needs it")
        self.used[name] = self.tensors[name]
        return self.tensors[name]

    def refuse_unused(self, harmless: set[str]) -> None:
        """Insist that every tensor is used: otherwise the file holds another model than the one that was built."""
        unused = [
            tensor.name for name, tensor in self.tensors.items() if name not in self.used and name not in harmless
        ]
        if unused:
            more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            what = f"a {self.gguf} model of {self.config.layers} layers"
            raise ModelError(f"{self.path}: tensor {unused[0]:.80}{more}: {what} has no use for it")

    def matrix(self, name: str, rows: int | None, columns: int) -> str:
        """Check a matrix; rows None: any."""
        tensor = self.tensor(name)
        shape = tensor.shape
        if len(shape) != 2 or shape[1] != columns or not shape[0] or (rows is not None and shape[0] != rows):
            expected = f"({rows or 'tokens'}, {columns})"
            raise ModelError(f"{self.path}: tensor {tensor.name} has shape {shape}, expected {expected}")
        return name

    def norm(self, source: str, target: str, gain: str, heads: int = 0, accumulate: bool = False) -> None:
        """Append a norm over a row or its heads."""
        float_values(self.tensor(gain), self.config.head_width if heads else self.config.width, self.path)
        self.ops.append(Norm(source, target, gain, self.config.eps, heads, accumulate, self.gain_offset))

    def target(self, buffer: str, stem: str, rows: int, columns: int, accumulate: bool = False) -> Target:
        """One matrix of a Linear, with the bias that stands beside it, if any."""
        wanted = self.config.biases.get(stem.rpartition(".")[2], stem + ".bias" in self.tensors)
        bias = stem + ".bias" if wanted else None
        if bias:
            float_values(self.tensor(bias), rows, self.path)
        return Target(buffer, self.matrix(stem + ".weight", rows, columns), bias, accumulate)

    def attention(
        self, i: int, interleaved: bool = False, head_norms: bool = False, rotary: int = 0, window: int = 0
    ) -> None:
        """Query, key and value of "normed"; rotary embedding; attention to "attended"."""
        c, p = self.config, f"blk.{i}."
        q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
        self.ops.append(
            Linear(
                "normed",
                (
                    self.target("q", p + "attn_q", q, c.width),
                    self.target("k", p + "attn_k", kv, c.width),
                    self.target("v", p + "attn_v", kv, c.width),
                ),
            )
        )
        if head_norms:
            self.norm("q", "q", p + "attn_q_norm.weight", c.heads)
            self.norm("k", "k", p + "attn_k_norm.weight", c.kv_heads)
        self.ops.append(Rope("q", rotary, c.heads, c.head_width, interleaved))
        self.ops.append(Rope("k", rotary, c.kv_heads, c.head_width, interleaved))
        scale = inverse_root(c.query_width)
        self.ops.append(Attend("q", "k", "v", "attended", i, c.heads, c.kv_heads, c.head_width, scale, window))

    def project(self, i: int, buffer: str, accumulate: bool) -> None:
        """Attention's output projection."""
        c = self.config
        columns = c.heads * c.head_width
        self.ops.append(
            Linear("attended", (self.target(buffer, f"blk.{i}.attn_output", c.width, columns, accumulate),))
        )

    def feed_forward(self, i: int, buffer: str, accumulate: bool) -> None:
        """The gated feed-forward net on "normed"."""
        c, p = self.config, f"blk.{i}."
        up = (
            self.target("gate", p + "ffn_gate", c.hidden, c.width),
            self.target("up", p + "ffn_up", c.hidden, c.width),
        )
        self.ops.append(Linear("normed", up))
        self.ops.append(Gate("gate", "up", "hidden", self.activation))
        self.ops.append(Linear("hidden", (self.target(buffer, p + "ffn_down", c.width, c.hidden, accumulate),)))
