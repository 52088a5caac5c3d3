"""Jamba: selective scans, attention without positions, mixtures of experts (arXiv 2403.19887, 2408.12570)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats import Checkpoint
from intact.checkpoints.formats.metadata import Metadata
from intact.models.attention_layers import read_gguf_layers
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.mixtures import ROUTER, MixtureForm
from intact.models.selective_spaces import SelectiveSpaces, selective_names
from intact.models.state_spaces import HYBRID_NAMES
from intact.numerics.convolve import MOST_TAPS

_NORMS = {"ssm_dt_norm": "mamba.dt_layernorm", "ssm_b_norm": "mamba.b_layernorm", "ssm_c_norm": "mamba.c_layernorm"}
_EXPERTS = {
    "ffn_gate_inp": "feed_forward.router",
    "ffn_gate_exps": "feed_forward.experts.*.gate_proj",
    "ffn_up_exps": "feed_forward.experts.*.up_proj",
    "ffn_down_exps": "feed_forward.experts.*.down_proj",
}


class Jamba(SelectiveSpaces):
    """Attention and experts occur in every few layers; experts' weights come from a softmax over all of them."""

    gguf = "jamba"
    hf = ("JambaForCausalLM",)
    hf_names = HYBRID_NAMES | selective_names("mamba") | _NORMS | _EXPERTS
    hf_defaults: ClassVar[dict[str, Any]] = {
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 262144,
        "num_experts": 16,
        "num_experts_per_tok": 2,
        "rope_theta": None,
    }
    hf_refused = {"mamba_proj_bias": (False,)}
    fused = {"selective_in": "mamba.in_proj", "ssm_x": "mamba.x_proj"}
    biases = Decoder.biases | SelectiveSpaces.biases
    mixture = MixtureForm("softmax", "num_experts", "intermediate_size")
    selective_gains = tuple(f"{name}.weight" for name in _NORMS)
    sample: ClassVar[dict[str, Any]] = {
        "block_count": 3,
        "attention.head_count_kv": [0, 1, 0],
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 128,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 32,
        "expert_count": 6,
        "expert_used_count": 2,
        "feed_forward_length": 64,
    }

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the hyper-parameters; which layers of a GGUF file have experts is read from its tensors."""
        config, names = super().read_config(checkpoint), checkpoint.tensors
        if not config.from_gguf or config.mixture is None or not names:
            return config
        dense = tuple(i for i in range(config.layers) if f"blk.{i}.{ROUTER}.weight" not in names)
        return replace(config, mixture=replace(config.mixture, dense=dense))

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including which layers have scans; every second layer is assumed to have experts.

        `read_config` replaces this assumption with the layers found in the file's tensors.
        """
        scans, common = read_gguf_layers(m, "a state space")
        config = super().read_gguf(common)
        mixture = config.mixture and replace(config.mixture, dense=tuple(range(0, config.layers, 2)))
        taps = m.integer("ssm.conv_kernel", most=MOST_TAPS)
        return cls.with_layers(replace(config, mixture=mixture, selective=cls.gguf_shape(m), taps=taps), scans)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json: the periods of layers with attention and of layers with experts."""
        layers = m.integer("num_hidden_layers", most=1024)
        experts = m.integer("num_experts") > 1
        config = super().read_hf(m if experts else Metadata({**m.values, "num_experts": 0}, m.source))
        attention, routed = (
            cls.periodic(m, "attn_layer", 8, 4, layers=layers),
            cls.periodic(m, "expert_layer", 2, 1, layers=layers),
        )
        scans, dense = (tuple(i for i in range(layers) if i not in some) for some in (attention, routed))
        inner = m.integer("mamba_expand", 2, most=64) * config.width
        own: dict[str, Any] = {
            "mixture": config.mixture and replace(config.mixture, dense=dense),
            "selective": cls.hf_shape(m, inner, "mamba_d_state", "mamba_dt_rank"),
            "taps": m.integer("mamba_d_conv", 4, most=MOST_TAPS),
            "biases": dict(config.biases) | {"ssm_conv1d": m.flag("mamba_conv_bias", True)},
        }
        return cls.with_layers(replace(config, **own), scans)

    @classmethod
    def periodic(cls, m: Metadata, key: str, period: int, offset: int, layers: int) -> range:
        """Return the layers given by `key`_period and `key`_offset in a config.json."""
        period = m.integer(f"{key}_period", period, most=1024)
        return range(m.integer(f"{key}_offset", offset, least=0, most=period - 1), layers, period)

    @classmethod
    def with_layers(cls, config: Config, scans: tuple[int, ...]) -> Config:
        """Return a configuration with its layers set; none of them has positions."""
        return replace(config, scan_layers=scans, unrotated_layers=tuple(range(config.layers)))
