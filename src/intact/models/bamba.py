"""Bamba: state-space layers and a few attention layers, half of each head rotated (huggingface.co/blog/bamba)."""

from __future__ import annotations

from typing import Any, ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.granitehybrid import GraniteHybrid
from intact.models.names import FEED_FORWARD
from intact.models.state_spaces import HYBRID_DEFAULTS, HYBRID_NAMES, StateSpaces, scan_names


class Bamba(GraniteHybrid):
    """Granite 4 architecture without multipliers and experts. Its GGUF files, which use Granite's name, are refused.

    Llama.cpp's converter permutes rows of queries and keys as if whole heads were rotated.
    """

    name = "bamba"
    hf = ("BambaForCausalLM",)
    hf_names = HYBRID_NAMES | scan_names("mamba")
    hf_defaults = HYBRID_DEFAULTS | {
        "num_key_value_heads": 8,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-5,
    }
    hf_stacked: ClassVar[dict[str, tuple[str, ...]]] = {}
    fused = {**StateSpaces.fused}
    biases = StateSpaces.biases | dict.fromkeys(FEED_FORWARD, "mlp_bias")
    mixture = None
    multipliers: ClassVar[dict[str, tuple[str, str]]] = {}
    partial_rotary = True

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read which layers have attention (`attn_layer_indices`); half of each head is always rotated."""
        layers = m.integer("num_hidden_layers", most=1024)
        attention = m.get("attn_layer_indices", [])
        if not isinstance(attention, list) or not all(i in range(layers) for i in attention):
            m.refuse("attn_layer_indices", f"a list of layer numbers below {layers}", attention)
        own: dict[str, Any] = {
            "layer_types": ["attention" if i in attention else "mamba" for i in range(layers)],
            "shared_intermediate_size": m.integer("intermediate_size"),
            "position_embedding_type": "rope",
            "partial_rotary_factor": 0.5,
        }
        config = super().read_hf(Metadata({**m.values, **own}, m.source))
        if m.get("attn_rotary_emb") not in (None, config.rope_width):
            m.refuse("attn_rotary_emb", f"{config.rope_width}, half of the head width", m.get("attn_rotary_emb"))
        return config
