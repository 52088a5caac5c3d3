"""The parts that decoder architectures share. An architecture is a subclass of Decoder of a few lines."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from intact.errors import ModelError
from intact.formats import Checkpoint, Tensor
from intact.formats.metadata import Metadata
from intact.models.config import Config, check_config, read_gguf_config, read_hf_config, text_config
from intact.models.gathers import add_gathers, has_index, input_count
from intact.models.program import Attend, Buffer, Embed, Gate, Linear, Logits, Norm, Op, Program, Rope, Target
from intact.models.rotations import add_rotations, rotation_name, rotation_size
from intact.numerics.dequantize import dequantize
from intact.numerics.rope import rotation
from intact.weights import FLOAT_FORMATS

ATTENTION: Final = ("attn_q", "attn_k", "attn_v")
FEED_FORWARD: Final = ("ffn_gate", "ffn_up", "ffn_down")
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
"""GGUF's names of tensors, which are canonical here, to those of most models of Transformers."""
_HF_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias|hadamard)")
_HF_UNUSED = re.compile(r"(model\.)?(vision_tower|multi_modal_projector)\..+|.*\.rotary_emb\.inv_freq")
"""What a text model may leave aside: a picture's tower, and the frequencies that old checkpoints store again."""


def inverse_root(x: float) -> Fraction:
    """Return 1 / sqrt(x) to 60 bits."""
    exact = Fraction(x)
    return Fraction(1 << 60, math.isqrt((exact.numerator << 120) // exact.denominator))


def float_values(tensor: Tensor, length: int, where: object) -> NDArray[np.float32]:
    """Return a vector stored as F32, F16 or BF16 as float32; `where` is the file, for messages."""
    if tensor.shape != (length,):
        raise ModelError(f"{where}: tensor {tensor.name} has shape {tensor.shape}, expected ({length},)")
    if tensor.kind not in FLOAT_FORMATS:
        raise ModelError(f"{where}: tensor {tensor.name} is {tensor.kind}, expected {', '.join(FLOAT_FORMATS)}")
    values = dequantize(tensor.kind, tensor.data, tensor.shape)
    if not np.all(np.isfinite(values)):
        raise ModelError(
            f"{where}: tensor {tensor.name} has NaN or infinite values (first at {np.argmin(np.isfinite(values))})"
        )
    return values


class Decoder(ABC):
    """One architecture: how its files are read, and the Program that they become.

    Attention and gated feed-forward nets around a residual stream. A subclass with a name `gguf` of its own is an
    architecture; it is found by its file (`intact.models.ARCHITECTURES`). The attributes describe its files.
    """

    gguf: ClassVar[str]
    """Name of the architecture in GGUF (general.architecture)."""
    hf: ClassVar[tuple[str, ...]]
    """Names in config.json (architectures)."""
    hf_names: ClassVar[dict[str, str]] = HF_NAMES
    """Canonical names of tensors to those in safetensors."""
    hf_defaults: ClassVar[Mapping[str, Any]] = {}
    """What a config.json may leave out: the defaults of Transformers' configuration class, where they matter."""
    hf_activation: ClassVar[tuple[str, str]] = ("hidden_act", "silu")
    """The key in config.json that names the activation, and its only value that is supported."""
    activation: ClassVar[Literal["silu", "gelu"]] = "silu"
    biases: ClassVar[dict[str, bool | str]] = {
        **dict.fromkeys((*ATTENTION, "attn_output"), "attention_bias"),
        **dict.fromkeys(FEED_FORWARD, False),
    }
    """For each matrix whether it has a bias, or the key in config.json that says so."""
    has_local_layers: ClassVar[bool] = False
    """Whether layers that attend to a window are supported; `local_layers` and `window` must then be read."""
    hf_gain_offset: ClassVar[float] = 0.0
    """What is added to the gains of norms that safetensors hold."""
    sample: ClassVar[Mapping[str, Any]] = {}
    """GGUF keys (without the architecture's name) that a small checkpoint needs beside the common ones to show all
    that the architecture has; tests write random checkpoints with them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.path = checkpoint.path
        self.config = check_config(self.read_config(checkpoint), self.path)
        self.tensors = self.canonical_tensors(checkpoint)
        self.used: dict[str, Tensor] = {}
        self.rotated: dict[str, int] = {}
        self.ops: list[Op] = []

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the hyper-parameters of a checkpoint.

        Raises
        ------
        ModelError
            If one is missing, of the wrong type, out of bounds, or not supported.
        """
        if checkpoint.format == "gguf":
            return cls.read_gguf(Metadata(checkpoint.metadata, checkpoint.path, prefix=cls.gguf + "."))
        return cls.read_hf(text_config(checkpoint.metadata, checkpoint.path, cls.hf_defaults))

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters of a GGUF file; an architecture with some of its own adds them."""
        config = read_gguf_config(m, cls.biases)
        window = m.integer("attention.sliding_window", 0, least=0)
        if not cls.has_local_layers and 0 < window < config.context:
            key = "attention.sliding_window"
            m.refuse(key, "0 (local layers are not supported for this architecture)", window)
        return config

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters of a config.json; an architecture with some of its own adds them."""
        config = read_hf_config(m, cls.biases)
        key, activation = cls.hf_activation
        m.choice(key, (activation,))
        allowed = ("full_attention", "sliding_attention")[: 1 + cls.has_local_layers]
        kinds = m.get("layer_types")
        if kinds is not None and not (
            isinstance(kinds, list) and len(kinds) == config.layers and all(kind in allowed for kind in kinds)
        ):
            m.refuse("layer_types", f"a list that gives each of {config.layers} layers {' or '.join(allowed)}", kinds)
        return config

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors under GGUF's names, whatever the format; what has no such name keeps its own."""
        if checkpoint.format == "gguf":
            return dict(checkpoint.tensors)
        names = {hf: own for own, hf in cls.hf_names.items()}
        out = {}
        for name, tensor in checkpoint.tensors.items():
            if _HF_UNUSED.fullmatch(name):
                continue
            plain = name.removeprefix("language_model.").replace("model.language_model.", "model.", 1)
            if (match := _HF_LAYER.fullmatch(plain)) and match[2] in names:
                out[f"blk.{match[1]}.{names[match[2]]}.{match[3]}"] = tensor
            elif (stem := plain.removesuffix(".weight")) in names and stem != plain:
                out[names[stem] + ".weight"] = tensor
            else:
                out[name] = tensor  # `refuse_unused` refuses it
        return out

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the name in safetensors of a tensor that has a canonical name."""
        stem, _, end = name.rpartition(".")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".", 2)
            return f"model.layers.{layer}.{cls.hf_names.get(part, part)}.{end}"
        return f"{cls.hf_names.get(stem, stem)}.{end}"

    @abstractmethod
    def layer(self, i: int) -> None:
        """Append the operations of layer i."""

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return the frequencies of each kind of rotary layer."""
        c = self.config
        factors = None
        if "rope_freqs.weight" in self.tensors:
            factors = self.vector("rope_freqs.weight", c.rope_width // 2)
        return (rotation(c.rope_base, c.rope_width, c.rope_scaling, factors),)

    def embed(self) -> None:
        """Append the embedding."""
        self.ops.append(Embed("x", self.matrix("token_embd.weight", None, self.config.width)))

    def buffers(self) -> dict[str, Buffer]:
        """Return the row vectors between operations, by their names."""
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
        """Return the whole program.

        Raises
        ------
        ModelError
            If a tensor is missing, misshapen, or has no use.
        """
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
        for name in dict.fromkeys(("token_embd.weight", head)):
            if has_index(self.used[name]):
                what = "embeddings and heads multiply the model's inputs in order"
                raise ModelError(f"{self.path}: tensor {self.used[name].name} has an index of its inputs; {what}")
        rotations = self.rotations()
        self.refuse_unused({"output.weight"} if tied else set())
        ops, buffers = add_rotations(tuple(self.ops), self.buffers(), self.rotated)
        ops, buffers = add_gathers(ops, buffers, self.used)
        return Program(
            architecture=self.gguf,
            buffers=buffers,
            ops=ops,
            tensors=self.used,
            rotations=rotations,
            layers=c.layers,
            kv_heads=c.kv_heads,
            head_width=c.head_width,
            vocabulary=vocabulary,
            context=c.context,
        )

    # What `layer` is written with: each method appends one operation and checks the tensors that it names.

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by its canonical name, and note it as used."""
        if name not in self.tensors:
            own = name if self.config.from_gguf else self.hf_name(name)
            raise ModelError(f"{self.path}: tensor {own} is missing; a {self.gguf} model needs it")
        self.used[name] = self.tensors[name]
        return self.tensors[name]

    def refuse_unused(self, harmless: set[str]) -> None:
        """Refuse a file with a tensor that is not used: it holds another model than the one that was built.

        Biases of zeros, which old GPTQ files have for every matrix of a layer, add nothing.
        """
        others = {name: tensor for name, tensor in self.tensors.items() if name not in self.used.keys() | harmless}
        zeros = {f"{matrix}.bias" for matrix in self.biases}
        unused = [t.name for name, t in others.items() if name.split(".", 2)[-1] not in zeros or t.data.any()]
        if unused:
            more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            what = f"a {self.gguf} model of {self.config.layers} layers"
            raise ModelError(f"{self.path}: tensor {unused[0]:.80}{more}: {what} has no use for it")

    def matrix(self, name: str, rows: int | None, columns: int) -> str:
        """Check that a matrix is there in this shape, and return its name; rows None: any number."""
        tensor = self.tensor(name)
        shape = tensor.shape if len(tensor.shape) != 2 else (tensor.shape[0], input_count(tensor))
        if len(shape) != 2 or shape[1] != columns or not shape[0] or (rows is not None and shape[0] != rows):
            expected = f"({rows or 'tokens'}, {columns})"
            raise ModelError(f"{self.path}: tensor {tensor.name} has shape {shape}, expected {expected}")
        return name

    def vector(self, name: str, length: int) -> NDArray[np.float32]:
        """Return a vector's values as float32."""
        return float_values(self.tensor(name), length, self.path)

    def norm(self, source: str, target: str, gain: str, heads: int = 0, accumulate: bool = False) -> None:
        """Append a norm over a row or its heads."""
        self.vector(gain, self.config.head_width if heads else self.config.width)
        offset = 0.0 if self.config.from_gguf else self.hf_gain_offset
        self.ops.append(Norm(source, target, gain, self.config.eps, heads, accumulate, offset))

    def target(self, buffer: str, stem: str, rows: int, columns: int, accumulate: bool = False) -> Target:
        """Return one matrix of a Linear, with the bias that stands beside it, if any."""
        wanted = self.config.biases.get(stem.rpartition(".")[2], stem + ".bias" in self.tensors)
        bias = stem + ".bias" if wanted else None
        if bias:
            self.vector(bias, rows)
        weight = self.matrix(stem + ".weight", rows, columns)
        if (rotation := rotation_name(weight)) in self.tensors:
            values = self.vector(rotation, 1)
            self.rotated[weight] = rotation_size(values, columns, f"{self.path}: tensor {self.tensors[rotation].name}")
        return Target(buffer, weight, bias, accumulate)

    def attention(
        self, i: int, interleaved: bool = False, head_norms: bool = False, rotary: int = 0, window: int = 0
    ) -> None:
        """Append query, key and value of "normed", rotary embedding, and attention to "attended"."""
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
        """Append attention's output projection."""
        c = self.config
        columns = c.heads * c.head_width
        self.ops.append(
            Linear("attended", (self.target(buffer, f"blk.{i}.attn_output", c.width, columns, accumulate),))
        )

    def feed_forward(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append the gated feed-forward net on "normed"."""
        c, p = self.config, f"blk.{i}."
        up = (
            self.target("gate", p + "ffn_gate", c.hidden, c.width),
            self.target("up", p + "ffn_up", c.hidden, c.width),
        )
        self.ops.append(Linear("normed", up))
        self.ops.append(Gate("gate", "up", "hidden", self.activation))
        self.ops.append(Linear("hidden", (self.target(buffer, p + "ffn_down", c.width, c.hidden, accumulate),)))
