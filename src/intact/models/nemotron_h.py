"""Nemotron-H: state-space layers, attention without positions, squared-ReLU networks (arXiv 2504.03624)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from intact.checkpoints.formats.metadata import Metadata
from intact.models.attention_layers import read_gguf_layers, read_hf_layers
from intact.models.backbone import BackboneStateSpaces
from intact.models.config import Config
from intact.models.names import FEED_FORWARD
from intact.numerics.convolve import MOST_TAPS

PATTERN: Final = "hybrid_override_pattern"
LISTS: Final = ("layers_block_type", "layer_types")
"""Keys with one letter per layer, and with one word per layer."""
_LETTERS: Final = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
_ATTENTION: Final = ("attention", "full_attention")
_SCANS: Final = ("mamba", "linear_attention")
_UNUSED: Final = ("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor")
"""Keys for position embeddings, which files may contain although no layer uses them."""


def layer_kinds(values: Mapping[str, Any]) -> object:
    """Return a config.json's layer kinds as a list of words, or the value itself if malformed; None if absent."""
    listed = next((values[key] for key in LISTS if values.get(key) is not None), None)
    pattern = values.get(PATTERN)
    if listed is not None or not isinstance(pattern, str) or not set(pattern) <= _LETTERS.keys():
        return listed
    return [_LETTERS[letter] for letter in pattern]


class NemotronH(BackboneStateSpaces):
    """Each layer is a norm and one block: state space, attention or feed-forward network."""

    gguf = "nemotron_h"
    hf = ("NemotronHForCausalLM",)
    hf_names = BackboneStateSpaces.hf_names | {
        "attn_q": "mixer.q_proj",
        "attn_k": "mixer.k_proj",
        "attn_v": "mixer.v_proj",
        "attn_output": "mixer.o_proj",
        "ffn_up": "mixer.up_proj",
        "ffn_down": "mixer.down_proj",
    }
    hf_defaults: ClassVar[dict[str, Any]] = {
        "hidden_size": 4096,
        "intermediate_size": 21504,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "layer_norm_epsilon": 1e-5,
        "mlp_hidden_act": "relu2",
        "mamba_num_heads": 128,
        "mamba_head_dim": 64,
        "n_groups": 8,
        "ssm_state_size": 128,
        "conv_kernel": 4,
    }
    hf_aliases = {"num_local_experts": "n_routed_experts"}
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {"use_bias": (False,), "mamba_proj_bias": (False,)}
    hf_activation = ("mlp_hidden_act", "relu2")
    activation = "relu"
    gated = False
    squared = True
    biases = BackboneStateSpaces.biases | dict.fromkeys(FEED_FORWARD, "mlp_bias")
    nets: ClassVar[tuple[str, ...]] = ("mlp",)
    """Words for layers that are feed-forward networks."""
    sample: ClassVar[dict[str, Any]] = {
        "block_count": 5,
        "attention.head_count_kv": [0, 0, 1, 0, 0],
        "feed_forward_length": [0, 160, 0, 0, 160],
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 96,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 4,
        "ssm.group_count": 2,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including which layers are state spaces and which are networks.

        Neither has KV heads; networks have a width.
        """
        others, common = read_gguf_layers(m, "a state space or a net")
        key = "feed_forward_length"
        widths = m.numbers(key, m.integer("block_count", most=1024))
        sizes = sorted({int(n) for n in widths if n})
        nets = tuple(i for i, n in enumerate(widths) if n)
        if len(sizes) != 1 or not set(nets) <= set(others):
            m.refuse(
                key, "0 for layers with attention or a state space, and the same number for all other layers", widths
            )
        config = super().read_gguf(Metadata({**common.values, m.prefix + key: sizes[0]}, m.source, prefix=m.prefix))
        return cls.with_layers(cls.with_gguf_scan(config, m), others, nets)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json."""
        kinds = layer_kinds(m.values)
        if kinds is None:
            m.refuse(PATTERN, f"a string of {', '.join(_LETTERS)}, one for each layer", m.get(PATTERN))
        key = next((key for key in LISTS if m.get(key) is not None), PATTERN)
        if not isinstance(kinds, list):
            m.refuse(key, "a list with a word for each layer", kinds)
        counted = Metadata({**m.values, "num_hidden_layers": m.get("num_hidden_layers", len(kinds))}, m.source)
        others, common = read_hf_layers(counted, kinds, _ATTENTION, (*_SCANS, *cls.nets), key=key)
        m.choice("mamba_hidden_act", ("silu",))
        cls.refuse_step_limit(m)
        if m.get("attention_head_dim") not in (None, m.get("head_dim")):
            m.refuse("attention_head_dim", f"{m.get('head_dim')}, the same as head_dim", m.get("attention_head_dim"))
        config = super().read_hf(Metadata({**common.values, **dict.fromkeys(_UNUSED)}, m.source))
        heads, width = m.integer("mamba_num_heads", most=4096), m.integer("mamba_head_dim", most=4096)
        biases = dict(config.biases) | {"ssm_conv1d": m.flag("use_conv_bias", True)}
        shape = cls.shape(m, heads, width, ("n_groups", "ssm_state_size"))
        config = replace(config, scan=shape, taps=m.integer("conv_kernel", most=MOST_TAPS), biases=biases)
        if config.mixture is not None:
            dense = tuple(i for i, kind in enumerate(kinds) if kind == "mlp")
            config = replace(config, mixture=replace(config.mixture, dense=dense))
        return cls.with_layers(config, others, tuple(i for i in others if kinds[i] in cls.nets))

    @classmethod
    def with_layers(cls, config: Config, others: tuple[int, ...], nets: tuple[int, ...]) -> Config:
        """Return a configuration with its layers set: those without attention are networks or state spaces."""
        scans = tuple(i for i in others if i not in nets)
        return replace(config, scan_layers=scans, net_layers=nets, unrotated_layers=tuple(range(config.layers)))

    def layer(self, i: int) -> None:
        """Append a norm, and a state space, a network or attention."""
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        if i in self.config.scan_layers:
            self.scan(i)
            self.project_scan(i, "x", accumulate=True)
        elif i in self.config.net_layers:
            self.feed_forward(i, "x", accumulate=True)
        else:
            self.attention(i, rotary=self.rotary(i))
            self.project(i, "x", accumulate=True)
