"""Qwen2 and Qwen2.5: Llama's graph with biases on query, key and value (arXiv 2407.10671)."""

from dataclasses import replace
from typing import Final

from intact.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.llama import Llama
from intact.models.names import ATTENTION

REWARD_HEADS: Final = {
    "Qwen2ForProcessRewardModel": ("score.0", "score.2"),
    "Qwen2ForPrmModel": ("v_head.summary",),
}
"""The layers of reward models' heads, by the names of their classes (`intact.engine.reward_head`)."""


class Qwen2(Llama):
    """The biases stand beside their matrices; rotary pairs lie half a head apart."""

    gguf = "qwen2"
    hf = ("Qwen2ForCausalLM", *REWARD_HEADS)
    biases = {matrix: matrix in ATTENTION for matrix in Decoder.biases}
    gguf_interleaves = False

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read a config.json; a reward model has a head of its own, and no other is asked for."""
        config = super().read_hf(m)
        for name in m.get("architectures") or ():
            if layers := REWARD_HEADS.get(name):
                heads = tuple(f"{layer}.{end}" for layer in layers for end in ("weight", "bias"))
                return replace(config, tied=True, other_heads=heads)
        return config
