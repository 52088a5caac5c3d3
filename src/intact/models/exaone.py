"""EXAONE 3 and 3.5: Llama's graph under names of its own (arXiv 2408.03541, 2412.04862)."""

from __future__ import annotations

from typing import Any, ClassVar

from intact.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.names import FEED_FORWARD, HF_NAMES

_OLDER = {"num_hidden_layers": "num_layers", "rms_norm_eps": "layer_norm_epsilon", "hidden_act": "activation_function"}
"""Keys in config.json, and what the authors' program calls them."""


class Exaone(Decoder):
    """Layers are those of a `transformer` in safetensors; rotary pairs are half a head apart in GGUF files too."""

    gguf = "exaone"
    hf = ("ExaoneForCausalLM",)
    hf_names = HF_NAMES | {
        "token_embd": "transformer.wte",
        "output_norm": "transformer.ln_f",
        "attn_q": "attn.attention.q_proj",
        "attn_k": "attn.attention.k_proj",
        "attn_v": "attn.attention.v_proj",
        "attn_output": "attn.attention.out_proj",
        "attn_norm": "ln_1",
        "ffn_norm": "ln_2",
        "ffn_gate": "mlp.c_fc_0",
        "ffn_up": "mlp.c_fc_1",
        "ffn_down": "mlp.c_proj",
    }
    hf_defaults: ClassVar[dict[str, Any]] = {
        "num_key_value_heads": 8,
        "max_position_embeddings": 4096,
        "rope_theta": 5e5,
        "tie_word_embeddings": False,
    }
    biases = Decoder.biases | dict.fromkeys(FEED_FORWARD, "mlp_bias")

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters under either name."""
        either = {key: m.get(key, m.get(older)) for key, older in _OLDER.items()}
        if either["rms_norm_eps"] is None:
            either["rms_norm_eps"] = 1e-5
        return super().read_hf(Metadata({**m.values, **either}, m.source))

    @classmethod
    def canonical_name(cls, name: str) -> str:
        """Return GGUF's name."""
        found = super().canonical_name(name.replace("transformer.h.", "model.layers.", 1))
        return name if found.startswith("model.layers.") else found

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the name in safetensors."""
        return super().hf_name(name).replace("model.layers.", "transformer.h.", 1)
