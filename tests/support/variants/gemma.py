"""Gemma, all versions."""

from support.variants.form import VOCABULARY, Variant, config

_GEMMA = {
    "num_hidden_layers": 3,
    "hidden_size": 72,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "query_pre_attn_scalar": 20,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "sliding_window": 8,
    "rms_norm_eps": 1e-6,
}
_GEMMA4 = {
    "num_attention_heads": 4,
    "head_dim": 16,
    "global_head_dim": 24,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "sliding_window": 8,
    "rms_norm_eps": 1e-6,
    "final_logit_softcapping": 30.0,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 1e6},
    },
}
VARIANTS: dict[str, Variant] = {
    "gemma3": Variant(
        config(
            "Gemma3ForCausalLM",
            "gemma3_text",
            **_GEMMA,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_theta=1e6,
            rope_local_base_freq=5000.0,
            rope_scaling={"rope_type": "linear", "factor": 8.0},
        ),
        "BF16",
    ),
    "gemma2": Variant(
        config(
            "Gemma2ForCausalLM",
            "gemma2",
            **_GEMMA,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            attn_logit_softcapping=2.5,
            final_logit_softcapping=30.0,
        ),
        "BF16",
    ),
    "gemma4": Variant(
        config(
            "Gemma4ForCausalLM",
            "gemma4_text",
            **_GEMMA4,
            num_hidden_layers=7,
            layer_types=[*["sliding_attention", "full_attention"] * 2, *["sliding_attention"] * 2, "full_attention"],
            num_key_value_heads=1,
            num_kv_shared_layers=3,
            use_double_wide_mlp=True,
            hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=VOCABULARY,
        ),
        "BF16",
    ),
    "gemma4-moe": Variant(
        config(
            "Gemma4ForCausalLM",
            "gemma4_text",
            **_GEMMA4,
            num_hidden_layers=3,
            layer_types=["sliding_attention", "full_attention", "full_attention"],
            num_key_value_heads=2,
            num_global_key_value_heads=1,
            num_kv_shared_layers=0,
            attention_k_eq_v=True,
            hidden_size_per_layer_input=0,
            enable_moe_block=True,
            num_experts=5,
            top_k_experts=2,
            moe_intermediate_size=48,
        )
    ),
    "gemma": Variant(
        config(
            "GemmaForCausalLM",
            "gemma",
            head_dim=32,
            num_key_value_heads=1,
            hidden_act="gelu_pytorch_tanh",
            hidden_activation="gelu_pytorch_tanh",
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
        ),
        "BF16",
    ),
    "vaultgemma": Variant(
        config(
            "VaultGemmaForCausalLM",
            "vaultgemma",
            **_GEMMA,
            layer_types=["full_attention"] * 3,
            attn_logit_softcapping=2.5,
            final_logit_softcapping=30.0,
        )
    ),
}


def newer_gemma() -> Variant:
    """The model "gemma3", as newer files spell it: inside a model with a picture's tower, rotary parameters in sets."""
    config = dict(VARIANTS["gemma3"].config)
    for old in ("rope_theta", "rope_local_base_freq", "rope_scaling"):
        del config[old]
    config["rope_parameters"] = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
    }
    whole = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": config}
    return Variant(whole, "BF16", prefix="language_model.")
