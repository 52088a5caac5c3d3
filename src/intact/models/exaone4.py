"""EXAONE 4: post-norms, head norms; with a window, global layers have no positions (arXiv 2507.11407)."""

from typing import ClassVar

from intact.models.decoder import Decoder, NormPlaces
from intact.models.names import HF_NAMES, NORMS_AFTER


class Exaone4(Decoder):
    """The 32B model has three sliding-window layers for each global one; the 1.2B model has no windows."""

    gguf = "exaone4"
    hf: ClassVar[tuple[str, ...]] = ("Exaone4ForCausalLM",)
    hf_names = HF_NAMES | NORMS_AFTER
    hf_defaults = {"rms_norm_eps": 1e-5, "sliding_window": 4096}
    biases = dict.fromkeys(Decoder.biases, False)
    norms: ClassVar[NormPlaces] = "after"
    head_norms = True
    has_local_layers = True
    local_but_each = 4
    rotates_local_alone = True
    sample = {"attention.sliding_window": 24, "attention.sliding_window_pattern": 2}
