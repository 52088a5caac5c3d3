"""Mamba and Falcon-Mamba: only selective scans, no attention or feed-forward networks (arXiv 2312.00752)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.backbone import BACKBONE_NAMES, ScansAlone
from intact.models.config import Config
from intact.models.selective_spaces import SelectiveSpaces, selective_names
from intact.models.state_spaces import bare_names
from intact.numerics.convolve import MOST_TAPS


class Mamba(ScansAlone, SelectiveSpaces):
    """One selective layer after each norm; Falcon-Mamba also norms dt, B and C, without gains (arXiv 2410.05355)."""

    gguf = "mamba"
    hf = ("MambaForCausalLM", "FalconMambaForCausalLM")
    hf_names = BACKBONE_NAMES | selective_names("mixer")
    hf_bare = bare_names("mixer")
    hf_defaults: ClassVar[dict[str, Any]] = {
        "state_size": 16,
        "layer_norm_epsilon": 1e-5,
        "conv_kernel": 4,
        "tie_word_embeddings": True,
        "mixer_rms_eps": 1e-6,
    }
    hf_refused = {"use_bias": (False,)}
    fused = {"selective_in": "mixer.in_proj", "ssm_x": "mixer.x_proj"}
    sample: ClassVar[dict[str, Any]] = {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 128,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 32,
        "ssm.dt_b_c_rms": True,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the sizes of the selective layers and the hyper-parameters common to decoders."""
        config = super().read_gguf(m)
        taps, eps = m.integer("ssm.conv_kernel", most=MOST_TAPS), config.eps if m.flag("ssm.dt_b_c_rms", False) else 0.0
        return replace(config, selective=cls.gguf_shape(m), taps=taps, selective_eps=eps)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json."""
        width = m.integer("hidden_size")
        inner = m.integer("intermediate_size", m.integer("expand", 2, most=64) * width, most=32768)
        shape = cls.hf_shape(m, inner, "state_size", "time_step_rank")
        config = super().read_hf(m)
        norms = m.get("model_type") == "falcon_mamba"
        return replace(
            config,
            selective=shape,
            taps=m.integer("conv_kernel", 4, most=MOST_TAPS),
            biases=dict(config.biases) | {"ssm_conv1d": m.flag("use_conv_bias", True)},
            selective_eps=m.number("mixer_rms_eps", least=1e-12, most=1.0) if norms else 0.0,
        )
