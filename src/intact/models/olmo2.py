"""OLMo 2 and OLMo 3: norms after attention and network, norms of whole query and key rows (arXiv 2501.00656)."""

import numpy as np
from numpy.typing import NDArray

from intact.models.decoder import Decoder
from intact.models.names import HF_NAMES, NORMS_AFTER
from intact.numerics.rope import rotation


class Olmo2(Decoder):
    """OLMo 3 adds sliding-window layers, whose rotary frequencies are not scaled."""

    gguf = "olmo2"
    hf = ("Olmo2ForCausalLM", "Olmo3ForCausalLM")
    hf_names = HF_NAMES | NORMS_AFTER
    hf_defaults = {"rms_norm_eps": 1e-5}
    norms = "after"
    head_norms = True
    norms_rows = True
    has_local_layers = True
    local_but_each = 4
    sample = {"attention.sliding_window": 24, "attention.sliding_window_pattern": 2}

    def rotary(self, i: int) -> int:
        """Return 1 for local layers, 0 for global ones."""
        return int(self.config.is_local[i])

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return the frequencies of global layers, with the checkpoint's scaling, and of local layers, if any."""
        c = self.config
        local = rotation(c.rope_local_base or c.rope_base, c.rope_width, {})
        return (*super().rotations(), local) if any(c.is_local) else super().rotations()
