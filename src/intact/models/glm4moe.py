"""GLM-4.5, 4.6 and 4.7: half of each head rotated, experts chosen by sigmoids with biases (arXiv 2508.06471)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats import Checkpoint
from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.mixtures import CHOSEN_BY_SIGMOIDS, HF_CHOICE_BIAS, SIGMOID_SAMPLE
from intact.models.names import ATTENTION, HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERTS


class Glm4Moe(Decoder):
    """The largest models norm queries and keys; the others (Air) do not."""

    gguf = "glm4moe"
    hf: ClassVar[tuple[str, ...]] = ("Glm4MoeForCausalLM",)
    hf_names = HF_NAMES | HF_EXPERTS | HF_SHARED_EXPERTS | {"post_attention_norm": "post_attention_layernorm"}
    hf_bare = HF_CHOICE_BIAS
    has_further_layers = True
    hf_heads = "layers"
    hf_defaults: ClassVar[dict[str, Any]] = {
        "partial_rotary_factor": 0.5,
        "rms_norm_eps": 1e-5,
        "moe_intermediate_size": 1408,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "n_routed_experts": 128,
        "first_k_dense_replace": 1,
    }
    biases = Decoder.biases | {matrix: matrix in ATTENTION and "attention_bias" for matrix in Decoder.biases}
    ffn_norm = "post_attention_norm"
    partial_rotary = True
    mixture = CHOSEN_BY_SIGMOIDS
    sample: ClassVar[dict[str, Any]] = SIGMOID_SAMPLE | {"rope.dimension_count": 12}

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the configuration; for a GGUF file, the tensors decide whether queries and keys are normed."""
        config = super().read_config(checkpoint)
        if config.from_gguf:
            normed = any(name.endswith(".attn_q_norm.weight") for name in checkpoint.tensors)
        else:
            normed = Metadata(checkpoint.metadata, checkpoint.path).flag("use_qk_norm", False)
        return replace(config, head_norms=normed)
