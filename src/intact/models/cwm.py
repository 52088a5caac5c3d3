"""Code World Model: Llama architecture, sliding-window layers between global ones (arXiv 2510.02387)."""

from __future__ import annotations

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.llama import Llama


class Cwm(Llama):
    """The first of every four layers is global; GGUF files are Llama's, without the window."""

    name = "cwm"
    hf = ("CwmForCausalLM",)
    hf_defaults = {"rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": 8192}
    has_local_layers = True

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read which layers are global; by default every fourth, starting with the first."""
        if m.get("layer_types") is not None:
            return super().read_hf(m)
        layers = m.integer("num_hidden_layers", most=1024)
        kinds = ["sliding_attention" if i % 4 else "full_attention" for i in range(layers)]
        return super().read_hf(Metadata({**m.values, "layer_types": kinds}, m.source))
