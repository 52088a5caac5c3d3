"""DeepSeek V3 and R1: DeepSeek V2 with experts chosen by sigmoids with a bias each (arXiv 2412.19437)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from intact.formats import Checkpoint, Tensor
from intact.models.deepseek2 import DeepseekV2
from intact.models.mixtures import CHOICE_BIAS

_BIAS = "mlp.gate.e_score_correction_bias"


class DeepseekV3(DeepseekV2):
    """GGUF files are DeepSeek V2's with sigmoids; folders may hold layers that predict further tokens, left aside."""

    name = "deepseek3"
    hf = ("DeepseekV3ForCausalLM",)
    hf_names = DeepseekV2.hf_names | {CHOICE_BIAS: _BIAS}
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "n_group": 8,
        "topk_group": 4,
        "first_k_dense_replace": 3,
        "routed_scaling_factor": 2.5,
    }
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "moe_layer_freq": (1,),
        "rope_interleave": (True,),
    }
    scoring = "sigmoid"
    choices = ("noaux_tc",)
    mixture = DeepseekV2.mixture._replace(weights="sigmoid of chosen", hf_bias="use_expert_bias")
    sample: ClassVar[dict[str, Any]] = DeepseekV2.sample | {
        "attention.q_lora_rank": 32,
        "expert_gating_func": 2,
        "expert_weights_norm": True,
        "expert_weights_scale": 2.5,
        "expert_count": 12,
        "expert_used_count": 4,
        "expert_group_count": 4,
        "expert_group_used_count": 2,
        "expert_shared_count": 1,
    }

    @classmethod
    def claims(cls, metadata: Mapping[str, Any]) -> bool:
        """Return true for a file whose experts are chosen by sigmoids."""
        return metadata.get("deepseek2.expert_gating_func") == 2

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the name in safetensors; that of biases, which have no layer of their own, has no end."""
        return super().hf_name(name).replace(f"{_BIAS}.bias", _BIAS)

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors but those of layers that predict further tokens."""
        found = super().canonical_tensors(checkpoint)
        if checkpoint.format == "gguf":
            return found
        first = checkpoint.metadata.get("num_hidden_layers")
        more = checkpoint.metadata.get("num_nextn_predict_layers") or 0
        further = range(first, first + more) if isinstance(first, int) and isinstance(more, int) else range(0)
        own = {}
        for name, tensor in found.items():
            layer = re.match(r"(?:blk|model\.layers)\.(\d+)\.", name)
            if layer and int(layer[1]) in further:
                continue
            own[f"blk.{layer[1]}.{CHOICE_BIAS}.bias" if layer and name.endswith("." + _BIAS) else name] = tensor
        return own
