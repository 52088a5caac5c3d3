"""ERNIE 4.5 dense: Llama architecture, adjacent rotary pairs (ERNIE 4.5 technical report, 2025)."""

from typing import ClassVar

from intact.models.decoder import Decoder


class Ernie45(Decoder):
    """GGUF and safetensors files both store query and key rows in the order of adjacent rotary pairs."""

    gguf = "ernie4_5"
    hf: ClassVar[tuple[str, ...]] = ("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM")
    hf_defaults = {"rope_theta": 500000.0, "head_dim": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    hf_refused = {"compression_ratio": (1,)}
    biases = dict.fromkeys(Decoder.biases, "use_bias")
    gguf_interleaves = True
    hf_interleaves = True
