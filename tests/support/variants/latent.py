"""Models with latent attention."""

from support.variants.form import Variant, config

_LATENT = {
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "n_shared_experts": 2,
    "moe_intermediate_size": 48,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.0,
    "n_group": 1,
    "topk_group": 1,
}
_STRETCHED = {
    "type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32,
    "beta_slow": 1,
}
VARIANTS: dict[str, Variant] = {
    "minicpm3": Variant(
        config(
            "MiniCPM3ForCausalLM",
            "minicpm3",
            num_hidden_layers=3,
            num_key_value_heads=4,
            kv_lora_rank=32,
            q_lora_rank=24,
            qk_nope_head_dim=16,
            qk_rope_head_dim=8,
            scale_emb=12,
            scale_depth=1.4,
            dim_model_base=16,
            tie_word_embeddings=True,
            rope_scaling={
                "type": "longrope",
                "short_factor": [1.0, 1.05, 1.2, 1.5],
                "long_factor": [1.0, 1.25, 2.5, 8.0],
                "original_max_position_embeddings": 128,
            },
        ),
        "BF16",
    ),
    "deepseek-v2-lite": Variant(
        config(
            "DeepseekV2ForCausalLM",
            "deepseek_v2",
            **_LATENT | {"q_lora_rank": None},
            norm_topk_prob=False,
            topk_method="greedy",
            rope_scaling=_STRETCHED | {"mscale": 0.707, "mscale_all_dim": 0.707},
        )
    ),
    "deepseek-v2": Variant(
        config(
            "DeepseekV2ForCausalLM",
            "deepseek_v2",
            **_LATENT | {"n_group": 3, "topk_group": 2, "num_experts_per_tok": 3, "routed_scaling_factor": 2.0},
            norm_topk_prob=False,
            topk_method="group_limited_greedy",
            attention_bias=True,
        ),
        "BF16",
    ),
    "deepseek-v3": Variant(
        config(
            "DeepseekV3ForCausalLM",
            "deepseek_v3",
            **_LATENT
            | {
                "n_routed_experts": 12,
                "num_experts_per_tok": 4,
                "n_shared_experts": 1,
                "n_group": 4,
                "topk_group": 2,
                "routed_scaling_factor": 2.5,
                "first_k_dense_replace": 2,  # in two such layers int8 turns the choice at 3 of 40 places
            },
            norm_topk_prob=True,
            rope_scaling=_STRETCHED | {"mscale": 1.0, "mscale_all_dim": 1.0},
        )
    ),
    "deepseek-v3-ungrouped": Variant(
        config(
            "DeepseekV3ForCausalLM",
            "deepseek_v3",
            **_LATENT | {"q_lora_rank": None, "first_k_dense_replace": 0},
            norm_topk_prob=False,
            num_nextn_predict_layers=0,
        )
    ),
    "glm4-moe-lite": Variant(
        config(
            "Glm4MoeLiteForCausalLM",
            "glm4_moe_lite",
            **_LATENT | {"v_head_dim": 24, "routed_scaling_factor": 1.8},
            mlp_layer_types=["dense", "sparse", "sparse"],
        )
    ),
}
