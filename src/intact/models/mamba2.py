"""Mamba-2: state-space layers alone, without attention and feed-forward nets (arXiv 2405.21060)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intact.exact import exp
from intact.formats import Checkpoint, Tensor
from intact.formats.metadata import Metadata
from intact.models.config import MOST_CONTEXT, Config
from intact.models.decoder import Decoder
from intact.models.names import HF_NAMES
from intact.models.program import Buffer
from intact.numerics.convolve import MOST_TAPS
from intact.numerics.dequantize import dequantize
from intact.numerics.scan import MOST_STATES, ScanShape

_HEADS = {"A_log": "ssm_a", "D": "ssm_d", "dt_bias": "ssm_dt.bias"}
_OF_HEADS = re.compile(r"model\.layers\.(\d+)\.mixer\.(A_log|D|dt_bias)")
_NO_LIMIT = ([0.0, {"__float__": "Infinity"}], [0.0, float("inf")])
"""No limit of steps: as Transformers writes it, and as other readers of JSON have it."""
_NO_ATTENTION = {"head_count": 1, "head_count_kv": 1, "key_length": 2, "value_length": 2}


class Mamba2(Decoder):
    """One state-space layer behind each norm."""

    gguf = "mamba2"
    hf = ("Mamba2ForCausalLM",)
    hf_names = HF_NAMES | {
        "token_embd": "model.embeddings",
        "output_norm": "model.norm_f",
        "attn_norm": "norm",
        "ssm_in_gate": "mixer.in_gate",
        "ssm_in_mixed": "mixer.in_mixed",
        "ssm_in_steps": "mixer.in_steps",
        "ssm_conv1d": "mixer.conv1d",
        "ssm_norm": "mixer.norm",
        "ssm_out": "mixer.out_proj",
    }
    hf_defaults: ClassVar[dict[str, Any]] = {
        "num_heads": 128,
        "head_dim": 64,
        "hidden_size": 4096,
        "state_size": 128,
        "num_hidden_layers": 64,
        "layer_norm_epsilon": 1e-5,
        "n_groups": 8,
        "conv_kernel": 4,
        "tie_word_embeddings": False,
    }
    hf_refused = {"use_bias": (False,), "norm_before_gate": (False,), "rms_norm": (True,)}
    hf_eps = "layer_norm_epsilon"
    fused = {"ssm_in": "mixer.in_proj"}
    gguf_fused = ("ssm_in",)
    biases = dict.fromkeys(("ssm_in_gate", "ssm_in_mixed", "ssm_in_steps", "ssm_out"), False)
    sample: ClassVar[dict[str, Any]] = {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 96,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 4,
        "ssm.group_count": 1,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the sizes of the state-space layers, and what they share with other decoders."""
        own = {f"{m.prefix}attention.{key}": value for key, value in _NO_ATTENTION.items()}
        own |= {m.prefix + "feed_forward_length": 1, m.prefix + "rope.dimension_count": 2}
        config = super().read_gguf(Metadata({**m.values, **own}, m.source, prefix=m.prefix))
        heads, inner = m.integer("ssm.time_step_rank", most=4096), m.integer("ssm.inner_size", most=32768)
        if inner % heads:
            m.refuse("ssm.inner_size", f"a multiple of the {heads} heads (ssm.time_step_rank)", inner)
        shape = cls.shape(m, heads, inner // heads, ("ssm.group_count", "ssm.state_size"))
        return replace(config, scan=shape, taps=m.integer("ssm.conv_kernel", most=MOST_TAPS))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json."""
        heads, width = m.integer("num_heads", most=4096), m.integer("head_dim", most=4096)
        inner = m.integer("expand", 2, most=64) * m.integer("hidden_size")
        if heads * width != inner:
            m.refuse("num_heads", f"{inner} channels (expand times hidden_size) in heads of {width}", heads)
        limit = m.get("time_step_limit")
        if limit is not None and limit not in _NO_LIMIT:
            m.refuse("time_step_limit", f"{_NO_LIMIT[0]} (other limits of steps are not supported)", limit)
        own: dict[str, Any] = {
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "head_dim": 2,
            "intermediate_size": 1,
            "max_position_embeddings": m.get("max_position_embeddings", MOST_CONTEXT),
            "rope_theta": None,
        }
        config = super().read_hf(Metadata({**m.values, **own}, m.source))
        biases = dict(config.biases) | {"ssm_conv1d": m.flag("use_conv_bias", True)}
        shape = cls.shape(m, heads, width, ("n_groups", "state_size"))
        return replace(config, scan=shape, taps=m.integer("conv_kernel", 4, most=MOST_TAPS), biases=biases)

    @classmethod
    def shape(cls, m: Metadata, heads: int, width: int, keys: tuple[str, str]) -> ScanShape:
        """Return the sizes; `keys` are those of the groups and of the states.

        Norms are over whole rows here; the authors' program norms each group by itself, so there may be one.
        """
        groups = m.integer(keys[0], 1)
        if groups != 1:
            m.refuse(keys[0], "1 (norms of several groups are not supported)", groups)
        return ScanShape(heads, width, groups, m.integer(keys[1], most=MOST_STATES))

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Return a checkpoint in which each matrix is a tensor of its own."""
        if checkpoint.format != "gguf":
            tensors = checkpoint.tensors.items()
            named = {name.replace("backbone.", "model.", 1): tensor for name, tensor in tensors}
            checkpoint = Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, named)
        return super().split(checkpoint, config)

    @classmethod
    def canonical_name(cls, name: str) -> str:
        """Return GGUF's name; numbers of heads are neither weights nor biases in safetensors."""
        plain = name.replace("backbone.", "model.", 1)
        match = _OF_HEADS.fullmatch(plain)
        return f"blk.{match[1]}.{_HEADS[match[2]]}" if match else super().canonical_name(plain)

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the name in safetensors, whose layers are those of a `backbone`."""
        for own, canonical in _HEADS.items():
            if name.endswith(canonical):
                return f"backbone.layers.{name.split('.')[1]}.mixer.{own}"
        return super().hf_name(name).replace("model.", "backbone.", 1)

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors, those of heads as vectors, A as it is in GGUF files, and convolutions as matrices."""
        found = {}
        for name, tensor in super().canonical_tensors(checkpoint).items():
            if name.endswith(".ssm_a") and checkpoint.format != "gguf":
                tensor = _negative_exponential(tensor)
            if name.endswith((".ssm_a", ".ssm_d", ".ssm_norm.weight")) and len(tensor.shape) == 2:
                tensor = Tensor(tensor.name, tensor.kind, (tensor.shape[0] * tensor.shape[1],), tensor.data)
            if name.endswith(".ssm_conv1d.weight") and len(tensor.shape) == 3 and tensor.shape[1] == 1:
                tensor = Tensor(tensor.name, tensor.kind, (tensor.shape[0], tensor.shape[2]), tensor.data)
            found[name] = tensor
        return found

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return none: positions are not rotated."""
        return ()

    def buffers(self) -> dict[str, Buffer]:
        """Return the residual stream, and the rows of a state-space layer."""
        width = self.config.width
        return {"x": Buffer(width, wide=True), "normed": Buffer(width), **self.scan_buffers()}

    def layer(self, i: int) -> None:
        """Append a norm and a state-space layer."""
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.scan(i, "x", accumulate=True)


def _negative_exponential(tensor: Tensor) -> Tensor:
    """Return -exp(x) of a vector as float32, each value rounded once more from the nearest double."""
    values = dequantize(tensor.kind, tensor.data, tensor.shape).reshape(-1)
    found = np.array([-exp(float(x)) for x in values.tolist()], np.float64).astype("<f4")
    return Tensor(tensor.name, "F32", tensor.shape, found.view(np.uint8))
