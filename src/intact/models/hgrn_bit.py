"""MatMul-free LM: HGRN's recurrence, ternary products, a norm before each product (arXiv 2406.02528, 2311.04823)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact._base.exact import exp
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.bitnet import FLOATS, mean_scale, ternary_matrix
from intact.checkpoints.formats.quantised.integers import round_scales
from intact.checkpoints.formats.quantised.parts import Converted, MatrixParts
from intact.models.aspects.op import Recurrent
from intact.models.aspects.tables import Buffer
from intact.models.config import Config
from intact.models.decoder import net_buffers
from intact.models.names import FEED_FORWARD
from intact.models.ops import GatedRecurrence, Linear, Logits, Norm, Target
from intact.models.without_attention import WithoutAttention
from intact.numerics.dequantize import dequantize

PRODUCT_EPS: Final = 1e-8
"""Epsilon of the norm before each product, which files do not specify."""
_BOUNDS: Final = "model.lower_bounds"
_ROOM: Final = "hgrn_room.weight"
_HEAD: Final = "lm_head.weight"
_INPUTS: Final = {"hgrn_input": "input", "hgrn_forget": "forget", "hgrn_gate": "output_gate"}
"""Products of a layer's normed row, and the buffers that they fill."""
_PRODUCTS: Final = {
    "hgrn_input": "attn.i_proj",
    "hgrn_forget": "attn.f_proj",
    "hgrn_gate": "attn.g_proj",
    "hgrn_output": "attn.o_proj",
    "ffn_down": "mlp.down_proj",
}
_NORMS: Final = {f"{own}_norm": f"{name}.norm" for own, name in _PRODUCTS.items()}


class MatMulFree(WithoutAttention):
    """Folders hold floats trained to become ternary: -1, 0 and 1 times the mean of their magnitudes.

    Each channel of a layer has its own state, so the number of heads has no effect.
    """

    gguf = "hgrn_bit"
    hf = ("HGRNBitForCausalLM",)
    hf_names: ClassVar[dict[str, str]] = {
        "token_embd": "model.embeddings",
        "output_norm": "model.norm",
        "output_head_norm": "lm_head.norm",
        "output": "lm_head",
        "attn_norm": "attn_norm",
        "hgrn_norm": "attn.g_norm",
        "ffn_norm": "mlp_norm",
        "ffn_gate": "mlp.gate",
        "ffn_up": "mlp.up",
        "ffn_gate_norm": "mlp.gate_proj.norm",
        **_PRODUCTS,
        **_NORMS,
    }
    hf_defaults: ClassVar[dict[str, Any]] = {
        "hidden_act": "swish",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }
    hf_activation = ("hidden_act", "swish")
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {"expand_ratio": (1, None), "use_short_conv": (False,)}
    biases: ClassVar[dict[str, bool | str]] = dict.fromkeys((*_PRODUCTS, *FEED_FORWARD), False)
    fused: ClassVar[Mapping[str, str]] = {"ffn_up": "mlp.gate_proj"}

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the hyper-parameters; for a GGUF file, whether forget gates have bounds is read from its tensors."""
        config, names = super().read_config(checkpoint), checkpoint.tensors
        if not config.from_gguf:
            return config
        return replace(config, forget_bounds=not names or any(name.endswith(_ROOM) for name in names))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read a config.json; the width of feed-forward networks has its own default."""
        width, heads = m.integer("hidden_size"), m.integer("num_heads", 1)
        if width % heads:
            m.refuse("num_heads", f"a divisor of hidden_size, {width}", heads)
        if m.get("intermediate_size") is None:
            ratio = 4 if m.get("hidden_ratio") is None else m.integer("hidden_ratio", most=64)
            hidden = -(-int(width * ratio * 2 / 3) // 256) * 256
            m = Metadata({**m.values, "intermediate_size": hidden}, m.source)
        # the head is a separate matrix even if tied: its product is ternary, the embedding is not
        return replace(super().read_hf(m), forget_bounds=m.flag("use_lower_bound", True), tied=False)

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Convert a folder's floats to ternary matrices; rounding errors of 15-bit scales go into preceding norms."""
        if checkpoint.format == "gguf":
            return super().split(checkpoint, config)
        tensors = dict(checkpoint.tensors)
        if (
            checkpoint.metadata.get("tie_word_embeddings")
            and _HEAD not in tensors
            and "model.embeddings.weight" in tensors
        ):
            tensors[_HEAD] = tensors["model.embeddings.weight"]
        for name in [name for name in tensors if name.endswith("_proj.weight") or name == _HEAD]:
            tensor, gain = tensors[name], name.removesuffix("weight") + "norm.weight"
            if tensor.kind not in FLOATS or len(tensor.shape) != 2:
                continue
            stem = name.removesuffix(".weight")
            parts = MatrixParts(checkpoint.path, stem, name, {".weight": tensor})
            tensors[name] = ternary_matrix(parts)
            if gain in tensors and tensors[gain].kind in FLOATS:
                tensors[gain] = _scaled(tensors[gain], parts)
        return super().split(Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors), config)

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors, with a folder's lower bounds replaced by each layer's remaining range, 1 - bound."""
        found = super().canonical_tensors(checkpoint)
        bounds = None if checkpoint.format == "gguf" else found.get(_BOUNDS)
        if bounds is None:
            return found
        if len(bounds.shape) != 2 or bounds.kind not in FLOATS:
            what = f"is {bounds.kind} of shape {bounds.shape}; expected floats (layers, hidden_size)"
            raise ModelError(f"{checkpoint.path}: tensor {_BOUNDS} {what}")
        del found[_BOUNDS]
        rooms = _rooms_of(bounds)
        for i in range(1, bounds.shape[0]):
            make = _row_of(rooms, i)
            found[f"blk.{i}.{_ROOM}"] = Converted(_BOUNDS, "F32", (bounds.shape[1],), (bounds,), make=make)
        return found

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the safetensors name for a tensor's canonical name; all bounds are one tensor there."""
        return _BOUNDS if name.endswith(_ROOM) else super().hf_name(name)

    def buffers(self) -> dict[str, Buffer]:
        """Return the row vectors between operations; rows that pass through two norms keep all bits between them."""
        c = self.config
        return {
            "x": Buffer(c.width, wide=True),
            "normed": Buffer(c.width, wide=True),
            "entered": Buffer(c.width),
            **{buffer: Buffer(c.width) for buffer in (*_INPUTS.values(), "state")},
            "gated": Buffer(c.width, wide=True),
            **net_buffers("", c.hidden),
            "entered_net": Buffer(c.hidden),
        }

    def layer(self, i: int) -> None:
        """Append the recurrence and the feed-forward network, each with a norm before it, and their residual sums."""
        c, p = self.config, f"blk.{i}."
        self.norm("x", "normed", p + "attn_norm.weight")
        for stem, buffer in _INPUTS.items():
            self.product("normed", p + stem, self.target(buffer, p + stem, c.width, c.width))
        room = p + _ROOM if c.forget_bounds and i > 0 else None
        if room:
            self.vector(room, c.width)
        cached = sum(isinstance(op, Recurrent) for op in self.ops)
        self.ops.append(GatedRecurrence("input", "forget", "state", room, layer=cached, channels=c.width))
        self.norm("output_gate", "output_gate", p + "hgrn_norm.weight", heads=1, width=c.width)
        self.gate("state", "output_gate", "gated", "silu")
        self.product("gated", p + "hgrn_output", self.target("x", p + "hgrn_output", c.width, c.width, accumulate=True))
        self.norm("x", "normed", p + "ffn_norm.weight")
        gate, up, down = (p + stem for stem in FEED_FORWARD)
        first = self.target("gate", gate, c.hidden, c.width), self.target("up", up, c.hidden, c.width)
        self.product("normed", gate, *first)
        self.gate("gate", "up", "hidden", "silu")
        self.product("hidden", down, self.target("x", down, c.width, c.hidden, accumulate=True), between="entered_net")

    def product(self, source: str, stem: str, *targets: Target, between: str = "entered") -> None:
        """Append a norm, with the gain that belongs to a matrix, and the matrix's product."""
        self.product_norm(source, between, stem + "_norm.weight")
        self.ops.append(Linear(between, targets))

    def product_norm(self, source: str, target: str, gain: str) -> None:
        """Append the norm before a product."""
        self.vector(gain, self.buffers()[source].width)
        self.ops.append(Norm(source, target, gain, PRODUCT_EPS))

    def finish(self, tied: bool, vocabulary: int) -> None:
        """Append the last norm, and the head with its own norm."""
        self.norm("x", "normed", "output_norm.weight")
        self.product_norm("normed", "entered", "output_head_norm.weight")
        head = "token_embd.weight" if tied else "output.weight"
        self.ops.append(Logits("entered", self.matrix(head, vocabulary, self.config.width)))


def _scaled(gain: Tensor, parts: MatrixParts) -> Tensor:
    """Return a gain multiplied by the rounding error of a ternary matrix's 15-bit scale, in float32."""

    def make() -> NDArray[np.uint8]:
        scale = float(mean_scale(parts.floats(".weight")))
        whole, exponent = round_scales(np.array([[scale]]))
        left = scale / math.ldexp(float(whole[0, 0]), int(exponent[0]))
        values = dequantize(gain.kind, gain.data, gain.shape).astype(np.float64) * left
        return values.astype("<f4").view(np.uint8)

    return Converted(gain.name, "F32", gain.shape, (gain, *parts.found.values()), make=make)


def rooms(bounds: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return 1 - b for the lower bounds b of forget gates, float32 (layers, channels).

    ``b = cumsum(p) - p[0]`` with ``p = softmax(bounds)`` over the layers, so 1 - b of layer i is the total share of the
    first layer and of the layers after i.

    Parameters
    ----------
    bounds : (layers, channels)
    """
    found = np.empty(bounds.shape, np.float64)
    for channel, column in enumerate(np.asarray(bounds, np.float64).T.tolist()):
        most = max(column)
        parts = [exp(x - most) for x in column]
        whole = math.fsum(parts)
        found[:, channel] = [math.fsum([parts[0], *parts[i + 1 :]]) / whole for i in range(len(parts))]
    return np.minimum(found, 1.0).astype(np.float32)


def _rooms_of(bounds: Tensor) -> Callable[[], NDArray[np.float32]]:
    """Return a function that computes `rooms` for a tensor once, on first use."""
    return cache(lambda: rooms(dequantize(bounds.kind, bounds.data, bounds.shape)))


def _row_of(found: Callable[[], NDArray[np.float32]], i: int) -> Callable[[], NDArray[np.uint8]]:
    return lambda: found()[i].astype("<f4").view(np.uint8)
