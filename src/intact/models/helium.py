"""Helium: Llama's graph, rotary pairs are neighbours in safetensors too (https://kyutai.org)."""

from __future__ import annotations

from intact.models.decoder import Decoder


class Helium(Decoder):
    """As GGUF files, of which llama.cpp's converter makes none, they would be Llama's."""

    name = "helium"
    gguf = "llama"
    hf = ("HeliumForCausalLM",)
    hf_defaults = {"rms_norm_eps": 1e-8, "rope_theta": 1e5}
    hf_interleaves = True
    gguf_interleaves = True
