"""Models with gated delta nets and gated attention: reads sizes, and the names and forms of tensors, from files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.op import Recurrent
from intact.models.aspects.tables import Buffer
from intact.models.attention_layers import read_hf_layers
from intact.models.config import Config
from intact.models.gated_attention import GatedAttention
from intact.models.mixtures import MixtureForm
from intact.models.names import ATTENTION, HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERT
from intact.models.ops import GatedDelta, Linear, Norm, Scatter
from intact.models.tensor_forms import as_matrix, negative_exponential
from intact.numerics.convolve import MOST_TAPS
from intact.numerics.delta import DeltaShape
from intact.numerics.scan import MOST_STATES

_INPUTS: Final = ("attn_qkv", "attn_gate", "ssm_alpha", "ssm_beta")
"""Input matrices of a delta net: queries, keys and values; gate z; dt; b."""
DELTA_NAMES: Final = HF_NAMES | {
    "post_attention_norm": "post_attention_layernorm",
    "attn_qkv": "linear_attn.in_proj_qkv",
    "attn_gate": "linear_attn.in_proj_z",
    "ssm_alpha": "linear_attn.in_proj_a",
    "ssm_beta": "linear_attn.in_proj_b",
    "ssm_conv1d": "linear_attn.conv1d",
    "ssm_norm": "linear_attn.norm",
    "ssm_out": "linear_attn.out_proj",
}
"""Safetensors names shared by models with delta nets."""


class DeltaNets(GatedAttention):
    """A decoder with gated delta nets instead of attention in all layers except every n-th.

    Attention's result is multiplied by the sigmoid of a gate, whose rows follow each head's query in `attn_q`. Heads
    that predict further tokens are separate programs (`intact.models.prediction_heads`).
    """

    hf_names: ClassVar[dict[str, str]] = DELTA_NAMES
    hf_bare = {"linear_attn.A_log": "ssm_a", "linear_attn.dt_bias": "ssm_dt.bias"}
    has_further_layers = True
    hf_heads = "mtp"
    hf_defaults: ClassVar[dict[str, Any]] = {
        "head_dim": 256,
        "partial_rotary_factor": 0.25,
        "max_position_embeddings": 32768,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
    }
    hf_refused: ClassVar[dict[str, tuple[object, ...]]] = {"attn_output_gate": (True,)}
    hf_gain_offset = 1.0
    ffn_norm = "post_attention_norm"
    head_norms = True
    partial_rotary = True
    biases: ClassVar[dict[str, bool | str]] = GatedAttention.biases | dict.fromkeys((*_INPUTS, "ssm_out"), False)
    gguf_tiles: ClassVar[bool] = True
    """If true, GGUF files order the value heads so that head h reads key h mod the number of keys."""
    sample: ClassVar[dict[str, Any]] = {
        "block_count": 4,
        "full_attention_interval": 3,
        "rope.dimension_count": 8,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 96,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 4,
        "ssm.group_count": 2,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including which layers have delta nets, and their sizes."""
        config = super().read_gguf(m)
        heads, inner = m.integer("ssm.time_step_rank", most=4096), m.integer("ssm.inner_size", most=32768)
        if inner % heads:
            m.refuse("ssm.inner_size", f"a multiple of the {heads} heads (ssm.time_step_rank)", inner)
        shape = cls.shape(m, heads, inner // heads, ("ssm.group_count", "ssm.state_size"))
        shape = shape._replace(tiled=cls.gguf_tiles and 1 < shape.groups < shape.heads)
        taps = m.integer("ssm.conv_kernel", most=MOST_TAPS)
        return replace(config, delta=shape, taps=taps, delta_layers=_read_gguf_layers(m, config.layers))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json."""
        kinds = m.get("layer_types")
        if kinds is None:
            layers, each = m.integer("num_hidden_layers", most=1024), m.integer("full_attention_interval", 4)
            kinds = ["linear_attention" if (i + 1) % each else "full_attention" for i in range(layers)]
        nets, common = read_hf_layers(m, kinds, ("full_attention",), ("linear_attention",))
        heads = m.integer("linear_num_value_heads", most=4096)
        width = m.integer("linear_value_head_dim", most=4096)
        shape = cls.shape(m, heads, width, ("linear_num_key_heads", "linear_key_head_dim"))
        taps = m.integer("linear_conv_kernel_dim", most=MOST_TAPS)
        return replace(super().read_hf(common), delta=shape, taps=taps, delta_layers=nets)

    @classmethod
    def shape(cls, m: Metadata, heads: int, width: int, keys: tuple[str, str]) -> DeltaShape:
        """Return the sizes of delta nets; `keys` names the number of key heads and their width in the metadata."""
        groups = m.integer(keys[0], most=4096)
        if heads % groups:
            m.refuse(keys[0], f"a divisor of the {heads} heads of values", groups)
        return DeltaShape(heads, width, groups, m.integer(keys[1], most=MOST_STATES))

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors, with A as in GGUF files and convolutions as matrices."""
        gguf, found = checkpoint.format == "gguf", {}
        for name, tensor in super().canonical_tensors(checkpoint).items():
            if name.endswith(".ssm_a") and not gguf:
                tensor = negative_exponential(tensor)
            found[name] = as_matrix(tensor) if name.endswith(".ssm_conv1d.weight") else tensor
        return found

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the rows of delta nets, and queries together with their gates."""
        c, shape = self.config, self.config.delta
        assert shape is not None
        return super().buffers() | {
            "q_gate": Buffer(2 * c.heads * c.head_width),
            "mixed": Buffer(shape.channels),
            "z": Buffer(shape.inner),
            "steps": Buffer(shape.heads),
            "beta": Buffer(shape.heads),
            "read": Buffer(shape.inner),
            "gated": Buffer(shape.inner, wide=True),
        }

    def layer(self, i: int) -> None:
        """Append a delta net and a feed-forward network, or the operations of an attention layer."""
        if i not in self.config.delta_layers:
            super().layer(i)
            return
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.delta_net(i, "x")
        self.norm("x", "normed", f"blk.{i}.{self.ffn_norm}.weight")
        self.feed_forward(i, "x", accumulate=True)

    def attention_inputs(self, i: int) -> None:
        """Append queries with their gates, keys and values."""
        c, p = self.config, f"blk.{i}."
        rows = zip(("q_gate", "k", "v"), ATTENTION, (2 * c.heads, c.kv_heads, c.kv_heads), strict=True)
        targets = (self.target(to, p + stem, heads * c.head_width, c.width) for to, stem, heads in rows)
        self.ops.append(Linear("normed", tuple(targets)))
        for start, target in ((0, "q"), (c.head_width, "gate_attended")):
            steps = (2 * c.head_width, start, c.head_width)
            self.ops.append(Scatter("q_gate", target, c.heads, c.head_width, *steps))

    def delta_net(self, i: int, buffer: str) -> None:
        """Append a gated delta net on "normed": projections, the delta rule, norm, gate, output projection.

        The authors divide queries by the square root of their width d; the operation does not. Instead, since the norm
        of x / sqrt(d) with some epsilon equals the norm of x with d times that epsilon, the norm's epsilon is
        multiplied by d.
        """
        c, p, shape = self.config, f"blk.{i}.", self.config.delta
        assert shape is not None
        to = {"mixed": shape.channels, "z": shape.inner, "steps": shape.heads, "beta": shape.heads}
        targets = (self.target(name, p + stem, to[name], c.width) for name, stem in zip(to, _INPUTS, strict=True))
        self.ops.append(Linear("normed", tuple(targets)))
        weight = self.matrix(p + "ssm_conv1d.weight", shape.channels, c.taps)
        bias, decay, gain = p + "ssm_dt.bias", p + "ssm_a", p + "ssm_norm.weight"
        for name, length in ((bias, shape.heads), (decay, shape.heads), (gain, shape.width)):
            self.vector(name, length)
        cached = sum(isinstance(op, Recurrent) for op in self.ops)
        self.ops.append(
            GatedDelta(
                *("mixed", "steps", "beta", "read"),
                weight=weight,
                step_bias=bias,
                decay=decay,
                layer=cached,
                taps=c.taps,
                tiled=shape.tiled,
                heads=shape.heads,
                width=shape.width,
                groups=shape.groups,
                states=shape.states,
            )
        )
        self.ops.append(Norm("read", "read", gain, c.eps * shape.states, heads=shape.heads))
        self.gate("z", "read", "gated", "silu")
        self.ops.append(Linear("gated", (self.target(buffer, p + "ssm_out", c.width, shape.inner, accumulate=True),)))


class DeltaMixtures(DeltaNets):
    """Delta nets with mixtures of experts: the best experts share a row's weight; there is also a shared expert."""

    hf_names: ClassVar[dict[str, str]] = DELTA_NAMES | HF_EXPERTS | HF_SHARED_EXPERT
    hf_defaults: ClassVar[dict[str, Any]] = DeltaNets.hf_defaults | {
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
    }
    mixture = MixtureForm(
        "softmax of chosen",
        "num_experts",
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        shared_gate=True,
    )
    sample: ClassVar[dict[str, Any]] = DeltaNets.sample | {
        "expert_count": 6,
        "expert_used_count": 3,
        "expert_feed_forward_length": 40,
        "expert_shared_feed_forward_length": 72,
    }


def _read_gguf_layers(m: Metadata, layers: int) -> tuple[int, ...]:
    """Return the layers with delta nets: those listed in the file, or all except every n-th."""
    key = "attention.recurrent_layers"
    if m.get(key) is None:
        each = m.integer("full_attention_interval", 4)
        return tuple(i for i in range(layers) if (i + 1) % each)
    flags = m.numbers(key, layers + m.integer("nextn_predict_layers", 0, least=0))
    if not all(isinstance(flag, bool | int) and flag in (0, 1) for flag in flags):
        m.refuse(key, "true or false for each layer", flags)
    return tuple(i for i, flag in enumerate(flags[:layers]) if flag)
