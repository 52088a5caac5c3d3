"""EXAONE 3 and 3.5: Llama architecture with its own tensor names (arXiv 2408.03541, 2412.04862)."""

from __future__ import annotations

from typing import Any, ClassVar

from intact.models.decoder import Decoder
from intact.models.names import FEED_FORWARD, HF_NAMES


class Exaone(Decoder):
    """Safetensors files name the decoder `transformer`; rotary pairs are half a head apart in GGUF files too."""

    gguf = "exaone"
    hf = ("ExaoneForCausalLM",)
    hf_types = ("exaone",)
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
        "rms_norm_eps": 1e-5,
    }
    hf_aliases: ClassVar[dict[str, str]] = {
        "num_layers": "num_hidden_layers",
        "layer_norm_epsilon": "rms_norm_eps",
        "activation_function": "hidden_act",
    }
    biases = Decoder.biases | dict.fromkeys(FEED_FORWARD, "mlp_bias")

    @classmethod
    def canonical_name(cls, name: str) -> str:
        """Return the GGUF name of a tensor."""
        found = super().canonical_name(name.replace("transformer.h.", "model.layers.", 1))
        return name if found.startswith("model.layers.") else found

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the safetensors name of a tensor."""
        return super().hf_name(name).replace("model.layers.", "transformer.h.", 1)
