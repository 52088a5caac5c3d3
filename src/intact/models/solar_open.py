"""Solar Open: GLM-4.5's mixtures in all layers, whole heads rotated (https://huggingface.co/upstage)."""

from __future__ import annotations

from typing import Any, ClassVar

from intact.models.glm4moe import Glm4Moe


class SolarOpen(Glm4Moe):
    """GGUF files are GLM-4.5's."""

    name = "solar-open"
    hf = ("SolarOpenForCausalLM",)
    hf_defaults: ClassVar[dict[str, Any]] = Glm4Moe.hf_defaults | {
        "partial_rotary_factor": 1.0,
        "rope_theta": 1e6,
        "head_dim": 128,
        "moe_intermediate_size": 1280,
        "first_k_dense_replace": 0,
    }
