"""State-space layers (Mamba-2): reads sizes, and the names and forms of tensors, from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.tables import Buffer
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.names import HF_NAMES
from intact.models.tensor_forms import as_matrix, as_vector, negative_exponential
from intact.numerics.convolve import MOST_TAPS
from intact.numerics.scan import MOST_STATES, ScanShape

_NO_LIMIT: Final = [0.0, {"__float__": "Infinity"}]
"""No limit on steps, as Transformers 5 writes it."""
HYBRID_DEFAULTS: dict[str, Any] = {
    "mamba_n_heads": 128,
    "mamba_n_groups": 1,
    "mamba_d_state": 256,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}
"""Defaults of a hybrid's config.json; the head width defaults to the total width divided by the number of heads."""
HYBRID_NAMES = HF_NAMES | {
    "output_norm": "model.final_layernorm",
    "ffn_norm": "pre_ff_layernorm",
    "ffn_gate": "feed_forward.gate_proj",
    "ffn_up": "feed_forward.up_proj",
    "ffn_down": "feed_forward.down_proj",
}
"""Safetensors names shared by Falcon-H1 and Bamba."""


def scan_names(mixer: str) -> dict[str, str]:
    """Map canonical names of a state-space layer's tensors to safetensors names; `mixer` is the layer's name there."""
    return {
        "ssm_in_gate": f"{mixer}.in_gate",
        "ssm_in_mixed": f"{mixer}.in_mixed",
        "ssm_in_steps": f"{mixer}.in_steps",
        "ssm_conv1d": f"{mixer}.conv1d",
        "ssm_norm": f"{mixer}.norm",
        "ssm_out": f"{mixer}.out_proj",
    }


def bare_names(mixer: str) -> dict[str, str]:
    """Return the safetensors names of A and D, with their canonical names."""
    return {f"{mixer}.A_log": "ssm_a", f"{mixer}.D": "ssm_d"}


def scan_bare_names(mixer: str) -> dict[str, str]:
    """Return the names of `bare_names`, and the name of the bias of dt, which has no matrix."""
    return bare_names(mixer) | {f"{mixer}.dt_bias": "ssm_dt.bias"}


class StateSpaces(Decoder):
    """A decoder with state-space layers instead of attention, or in addition to it.

    The norm after a scan applies to each group of channels separately.
    """

    hf_bare: ClassVar[Mapping[str, str]] = scan_bare_names("mamba")
    of_heads: ClassVar[tuple[str, ...]] = (".ssm_a", ".ssm_d", ".ssm_norm.weight")
    """Ends of the names of tensors with one number per head or column, which files may store as matrices."""
    fused: ClassVar[Mapping[str, str]] = {"ssm_in": "mamba.in_proj"}
    gguf_fused: ClassVar[tuple[str, ...]] = ("ssm_in",)
    biases: ClassVar[dict[str, bool | str]] = Decoder.biases | dict.fromkeys(
        ("ssm_in_gate", "ssm_in_mixed", "ssm_in_steps", "ssm_out"), False
    )

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the hyper-parameters; for a GGUF file, whether convolutions have biases is read from the tensors."""
        config = super().read_config(checkpoint)
        names = checkpoint.tensors
        if not config.from_gguf or not names or any(name.endswith(".ssm_conv1d.bias") for name in names):
            return config
        return replace(config, biases=dict(config.biases) | {"ssm_conv1d": False})

    @classmethod
    def with_gguf_scan(cls, config: Config, m: Metadata) -> Config:
        """Return a configuration with the sizes of the state-space layers of a GGUF file."""
        heads, inner = m.integer("ssm.time_step_rank", most=4096), m.integer("ssm.inner_size", most=32768)
        if inner % heads:
            m.refuse("ssm.inner_size", f"a multiple of the {heads} heads (ssm.time_step_rank)", inner)
        shape = cls.shape(m, heads, inner // heads, ("ssm.group_count", "ssm.state_size"))
        return replace(config, scan=shape, taps=m.integer("ssm.conv_kernel", most=MOST_TAPS))

    @classmethod
    def with_hf_scan(cls, config: Config, m: Metadata, inner: int | None = None) -> Config:
        """Return a configuration with the sizes in a hybrid's config.json; `inner` overrides the number of channels."""
        if inner is None:
            inner = m.integer("mamba_expand", most=64) * config.width
        heads = m.integer("mamba_n_heads", most=4096)
        width = inner // heads if m.get("mamba_d_head") in (None, "auto") else m.integer("mamba_d_head", most=4096)
        if heads * width != inner:
            m.refuse("mamba_n_heads", f"{inner / width:g}, for {inner} channels in heads of {width}", heads)
        cls.refuse_step_limit(m)
        biases = dict(config.biases) | {"ssm_conv1d": m.flag("mamba_conv_bias", True)}
        shape = cls.shape(m, heads, width, ("mamba_n_groups", "mamba_d_state"))
        return replace(config, scan=shape, taps=m.integer("mamba_d_conv", most=MOST_TAPS), biases=biases)

    @classmethod
    def refuse_step_limit(cls, m: Metadata) -> None:
        """Refuse a config.json with limits on steps."""
        limit = m.get("time_step_limit")
        if limit is not None and limit != _NO_LIMIT:
            m.refuse("time_step_limit", f"{_NO_LIMIT} (other limits of steps are not supported)", limit)

    @classmethod
    def shape(cls, m: Metadata, heads: int, width: int, keys: tuple[str, str]) -> ScanShape:
        """Return the sizes; `keys` names the numbers of groups and of states in the metadata."""
        groups = m.integer(keys[0], 1)
        if heads % groups:
            m.refuse(keys[0], f"a divisor of the {heads} heads", groups)
        return ScanShape(heads, width, groups, m.integer(keys[1], most=MOST_STATES))

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors, with per-head tensors as vectors, A as in GGUF files, and convolutions as matrices."""
        found = {}
        for name, tensor in super().canonical_tensors(checkpoint).items():
            if name.endswith(".ssm_a") and checkpoint.format != "gguf":
                tensor = negative_exponential(tensor)
            if name.endswith(cls.of_heads):
                tensor = as_vector(tensor)
            found[name] = as_matrix(tensor) if name.endswith(".ssm_conv1d.weight") else tensor
        return found

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return the frequencies; none if no layer has positions."""
        return super().rotations() if any(self.rotary(i) >= 0 for i in range(self.config.layers)) else ()

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the rows of state-space layers."""
        return super().buffers() | (self.scan_buffers() if self.config.scan or self.config.selective else {})

    def layer(self, i: int) -> None:
        """Append a state-space layer and a feed-forward network, or the operations of an attention layer."""
        if i not in self.config.scan_layers:
            super().layer(i)
            return
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.scan(i)
        self.project_scan(i, "x", accumulate=True)
        self.norm("x", "normed", f"blk.{i}.ffn_norm.weight")
        self.feed_forward(i, "x", accumulate=True)
