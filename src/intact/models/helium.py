"""Helium: Llama architecture, adjacent rotary pairs in safetensors too (https://kyutai.org)."""

from __future__ import annotations

from intact.models.decoder import Decoder


class Helium(Decoder):
    """llama.cpp's converter does not write GGUF files for this architecture; they would be Llama's."""

    name = "helium"
    gguf = "llama"
    hf = ("HeliumForCausalLM",)
    hf_defaults = {"rms_norm_eps": 1e-8, "rope_theta": 1e5}
    hf_interleaves = True
    gguf_interleaves = True
