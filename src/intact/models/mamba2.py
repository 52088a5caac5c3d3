"""Mamba-2: only state-space layers, no attention or feed-forward networks (arXiv 2405.21060)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.backbone import ScansAlone
from intact.models.config import Config
from intact.numerics.convolve import MOST_TAPS


class Mamba2(ScansAlone):
    """One state-space layer after each norm."""

    gguf = "mamba2"
    hf = ("Mamba2ForCausalLM",)
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
        """Read the sizes of the state-space layers and the hyper-parameters common to decoders."""
        return cls.with_gguf_scan(super().read_gguf(m), m)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json."""
        heads, width = m.integer("num_heads", most=4096), m.integer("head_dim", most=4096)
        inner = m.integer("expand", 2, most=64) * m.integer("hidden_size")
        if heads * width != inner:
            m.refuse(
                "num_heads",
                f"{inner / width:g}, for {inner} channels (expand times hidden_size) in heads of {width}",
                heads,
            )
        cls.refuse_step_limit(m)
        config = super().read_hf(m)
        biases = dict(config.biases) | {"ssm_conv1d": m.flag("use_conv_bias", True)}
        shape = cls.shape(m, heads, width, ("n_groups", "state_size"))
        return replace(config, scan=shape, taps=m.integer("conv_kernel", 4, most=MOST_TAPS), biases=biases)
