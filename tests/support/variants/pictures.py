"""Models that read pictures too, of which the text part runs."""

from typing import Any

from support.variants.form import Variant, config


def _with_pictures(text: dict[str, Any], kind: str) -> Variant:
    """A model that reads pictures too, by its text part."""
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 64}
    whole = {"architectures": text["architectures"], "model_type": kind, "text_config": text, "vision_config": vision}
    return Variant(whole | {"tie_word_embeddings": False}, "BF16", prefix="model.language_model.")


VARIANTS: dict[str, Variant] = {
    "qwen2.5-vl": _with_pictures(
        config(
            "Qwen2_5_VLForConditionalGeneration",
            "qwen2_5_vl_text",
            rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]},
        ),
        "qwen2_5_vl",
    ),
    "qwen3-vl": _with_pictures(
        config(
            "Qwen3VLForConditionalGeneration",
            "qwen3_vl_text",
            head_dim=24,
            rope_scaling={"rope_type": "default", "mrope_interleaved": True, "mrope_section": [4, 4, 4]},
        ),
        "qwen3_vl",
    ),
    "qwen3-vl-moe": _with_pictures(
        config(
            "Qwen3VLMoeForConditionalGeneration",
            "qwen3_vl_moe_text",
            head_dim=24,
            num_experts=5,
            num_experts_per_tok=2,
            moe_intermediate_size=48,
            norm_topk_prob=True,
            rope_scaling={"rope_type": "default", "mrope_interleaved": True, "mrope_section": [4, 4, 4]},
        ),
        "qwen3_vl_moe",
    ),
}
