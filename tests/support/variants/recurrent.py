"""Models with short convolutions, state-space layers or delta nets."""

from support.variants.form import Variant, config

_STATE_SPACE = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 24,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    "mamba_d_conv": 4,
    "mamba_chunk_size": 16,
}
_NEMOTRON_H = {
    "num_hidden_layers": 5,
    "head_dim": 24,
    "layer_norm_epsilon": 1e-5,
    "mamba_num_heads": 6,
    "mamba_head_dim": 16,
    "ssm_state_size": 24,
    "n_groups": 2,
    "conv_kernel": 4,
    "chunk_size": 16,
    "time_step_min": 1e-12,
}
_GRANITE4 = _STATE_SPACE | {
    "embedding_multiplier": 0.5,
    "attention_multiplier": 0.15625,
    "residual_multiplier": 0.22,
    "logits_scaling": 4.0,
}
_DELTA_NET = {
    "num_hidden_layers": 4,
    "head_dim": 32,
    "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
}
_DELTA_EXPERTS = {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 40,
}
VARIANTS: dict[str, Variant] = {
    "lfm2": Variant(
        config(
            "Lfm2ForCausalLM",
            "lfm2",
            num_hidden_layers=4,
            block_multiple_of=16,
            norm_eps=1e-5,
            conv_L_cache=3,
            layer_types=["conv", "full_attention", "conv", "conv"],
            tie_word_embeddings=True,
        )
    ),
    "lfm2-taps": Variant(
        config(
            "Lfm2ForCausalLM",
            "lfm2",
            num_hidden_layers=3,
            block_auto_adjust_ff_dim=False,
            norm_eps=1e-5,
            conv_L_cache=4,
            layer_types=["conv", "conv", "full_attention"],
        ),
        "BF16",
    ),
    "lfm2moe": Variant(
        config(
            "Lfm2MoeForCausalLM",
            "lfm2_moe",
            num_hidden_layers=4,
            norm_eps=1e-5,
            conv_L_cache=3,
            layer_types=["conv", "full_attention", "conv", "conv"],
            tie_word_embeddings=True,
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=48,
            num_dense_layers=1,
            use_expert_bias=True,
            norm_topk_prob=True,
            routed_scaling_factor=1.0,
        )
    ),
    "lfm2moe-sigmoids": Variant(
        config(
            "Lfm2MoeForCausalLM",
            "lfm2_moe",
            num_hidden_layers=2,
            norm_eps=1e-5,
            conv_L_cache=3,
            layer_types=["conv", "full_attention"],
            num_experts=5,
            num_experts_per_tok=4,
            moe_intermediate_size=48,
            num_dense_layers=0,
            use_expert_bias=False,
            norm_topk_prob=False,
            routed_scaling_factor=1.5,
        )
    ),
    "mamba2": Variant(
        config(
            "Mamba2ForCausalLM",
            "mamba2",
            num_heads=8,
            head_dim=16,
            state_size=24,
            n_groups=1,
            expand=2,
            conv_kernel=4,
            layer_norm_epsilon=1e-5,
            time_step_rank=4,
            chunk_size=16,
        )
    ),
    "mamba2-taps": Variant(
        config(
            "Mamba2ForCausalLM",
            "mamba2",
            num_hidden_layers=3,
            num_heads=2,
            head_dim=32,
            state_size=16,
            n_groups=1,
            expand=1,
            conv_kernel=3,
            use_conv_bias=False,
            layer_norm_epsilon=1e-5,
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "mamba2-groups": Variant(
        config(
            "Mamba2ForCausalLM",
            "mamba2",
            num_heads=8,
            head_dim=16,
            state_size=16,
            n_groups=4,
            expand=2,
            conv_kernel=4,
            layer_norm_epsilon=1e-5,
            chunk_size=16,
        ),
        "BF16",
    ),
    "nemotron-h": Variant(
        config("NemotronHForCausalLM", "nemotron_h", **_NEMOTRON_H, hybrid_override_pattern="M-*M-"), "BF16"
    ),
    "nemotron-h-biases": Variant(
        config(
            "NemotronHForCausalLM",
            "nemotron_h",
            **_NEMOTRON_H | {"num_hidden_layers": 4, "n_groups": 3, "conv_kernel": 3},
            layers_block_type=["mlp", "full_attention", "linear_attention", "mlp"],
            mlp_bias=True,
            use_conv_bias=False,
        ),
        "F16",
    ),
    "nemotron-h-moe": Variant(
        config(
            "NemotronHForCausalLM",
            "nemotron_h",
            **_NEMOTRON_H,
            hybrid_override_pattern="ME*ME",
            n_routed_experts=6,
            num_experts_per_tok=2,
            moe_intermediate_size=48,
            moe_shared_expert_intermediate_size=40,
            routed_scaling_factor=1.5,
        )
    ),
    "nemotron-h-moe-nets": Variant(
        config(
            "NemotronHForCausalLM",
            "nemotron_h",
            **_NEMOTRON_H | {"num_hidden_layers": 4},
            hybrid_override_pattern="M-*E",
            n_routed_experts=8,
            num_experts_per_tok=3,
            n_group=4,
            topk_group=2,
            norm_topk_prob=False,
            moe_intermediate_size=32,
            moe_shared_expert_intermediate_size=64,
            routed_scaling_factor=0.75,
        ),
        "BF16",
    ),
    "mamba": Variant(
        config(
            "MambaForCausalLM",
            "mamba",
            intermediate_size=128,
            state_size=16,
            expand=2,
            conv_kernel=4,
            time_step_rank="auto",
            layer_norm_epsilon=1e-5,
        )
    ),
    "falcon-mamba": Variant(
        config(
            "FalconMambaForCausalLM",
            "falcon_mamba",
            intermediate_size=128,
            state_size=8,
            expand=2,
            conv_kernel=3,
            use_conv_bias=False,
            time_step_rank=16,
            layer_norm_epsilon=1e-5,
            mixer_rms_eps=1e-6,
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "hgrn-bit": Variant(
        config("HGRNBitForCausalLM", "hgrn_bit", num_hidden_layers=3, num_heads=2, intermediate_size=None)
    ),
    "hgrn-bit-unbounded": Variant(
        config("HGRNBitForCausalLM", "hgrn_bit", use_lower_bound=False, tie_word_embeddings=True), "BF16"
    ),
    "mamba3": Variant(
        config(
            "MambaLMHeadModel",
            "mamba3",
            d_model=64,
            n_layer=2,
            d_intermediate=100,
            ssm_cfg={"layer": "Mamba3", "d_state": 24, "headdim": 16, "ngroups": 2, "expand": 2, "A_floor": 1e-4},
            attn_layer_idx=[],
            rms_norm=True,
            pad_vocab_size_multiple=7,
            tie_embeddings=False,
        )
    ),
    "mamba3-turned": Variant(
        config(
            "MambaLMHeadModel",
            "mamba3",
            d_model=64,
            n_layer=3,
            ssm_cfg={"layer": "Mamba3", "d_state": 16, "headdim": 32, "rope_fraction": 1.0, "A_floor": 0.5},
            pad_vocab_size_multiple=1,
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "jamba": Variant(
        config(
            "JambaForCausalLM",
            "jamba",
            num_hidden_layers=4,
            attn_layer_period=3,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            num_experts=5,
            num_experts_per_tok=2,
            mamba_d_state=16,
            mamba_d_conv=4,
            mamba_expand=2,
            mamba_dt_rank=6,
        )
    ),
    "jamba-dense": Variant(
        config(
            "JambaForCausalLM",
            "jamba",
            attn_layer_period=2,
            attn_layer_offset=1,
            num_experts=1,
            num_experts_per_tok=1,
            mamba_d_state=8,
            mamba_conv_bias=False,
            mamba_dt_rank=16,
            tie_word_embeddings=True,
        ),
        "F16",
    ),
    "granite4-h": Variant(
        config(
            "GraniteMoeHybridForCausalLM",
            "granitemoehybrid",
            num_hidden_layers=3,
            layer_types=["mamba", "attention", "mamba"],
            position_embedding_type="nope",
            **_GRANITE4,
            num_local_experts=6,
            num_experts_per_tok=2,
            shared_intermediate_size=40,
            tie_word_embeddings=True,
        ),
        "F16",
    ),
    "granite4-h-dense": Variant(
        config(
            "GraniteMoeHybridForCausalLM",
            "granitemoehybrid",
            num_hidden_layers=3,
            layer_types=["linear_attention", "full_attention", "linear_attention"],
            position_embedding_type="rope",
            **_GRANITE4 | {"mamba_conv_bias": False, "mamba_d_conv": 3, "mamba_d_state": 16},
            num_local_experts=0,
            num_experts_per_tok=0,
            shared_intermediate_size=96,
        ),
    ),
    "granite4": Variant(
        config(
            "GraniteMoeHybridForCausalLM",
            "granitemoehybrid",
            layer_types=["attention", "attention"],
            position_embedding_type="rope",
            **_GRANITE4,
            num_local_experts=0,
            num_experts_per_tok=0,
            shared_intermediate_size=112,
        ),
        "BF16",
    ),
    "bamba": Variant(
        config(
            "BambaForCausalLM",
            "bamba",
            num_hidden_layers=3,
            attn_layer_indices=[0, 2],
            attn_rotary_emb=8,
            **_STATE_SPACE,
        ),
        "BF16",
    ),
    "falcon-h1": Variant(
        config(
            "FalconH1ForCausalLM",
            "falcon_h1",
            head_dim=24,
            mamba_d_ssm=96,
            **_STATE_SPACE | {"mamba_n_heads": 6, "mamba_n_groups": 2},
            mamba_rms_norm=False,
            mamba_norm_before_gate=False,
            embedding_multiplier=0.5,
            lm_head_multiplier=2.0,
            attention_in_multiplier=0.9375,
            attention_out_multiplier=0.7,
            key_multiplier=0.39,
            ssm_in_multiplier=1.25,
            ssm_out_multiplier=0.6,
            ssm_multipliers=[0.7, 0.8, 0.35, 0.5, 0.9],
            mlp_multipliers=[0.88, 0.7],
        ),
        "BF16",
    ),
    "falcon-h1-groups": Variant(
        config(
            "FalconH1ForCausalLM",
            "falcon_h1",
            mamba_d_ssm=96,
            **_STATE_SPACE | {"mamba_n_heads": 6, "mamba_n_groups": 3},
            mamba_rms_norm=True,
            mamba_norm_before_gate=False,
            ssm_multipliers=[1.0] * 5,
        ),
        "BF16",
    ),
    "falcon-h1-norm": Variant(
        config(
            "FalconH1ForCausalLM",
            "falcon_h1",
            mamba_d_ssm=None,
            **_STATE_SPACE | {"mamba_d_head": "auto", "mamba_d_state": 16, "mamba_conv_bias": False},
            mamba_rms_norm=True,
            mamba_norm_before_gate=False,
            ssm_multipliers=[1.0, 1.0, 0.5, 0.5, 1.0],
            tie_word_embeddings=True,
        ),
    ),
    "qwen3.5": Variant(
        config(
            "Qwen3_5ForCausalLM",
            "qwen3_5_text",
            **_DELTA_NET,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1]},
        )
    ),
    "qwen3.5-tied": Variant(
        config(
            "Qwen3_5ForCausalLM",
            "qwen3_5_text",
            **_DELTA_NET | {"layer_types": None, "linear_num_key_heads": 3, "linear_num_value_heads": 3},
            full_attention_interval=2,
            partial_rotary_factor=0.5,
            rms_norm_eps=1e-3,
            attention_bias=True,
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "qwen3.5-moe": Variant(config("Qwen3_5MoeForCausalLM", "qwen3_5_moe_text", **_DELTA_NET, **_DELTA_EXPERTS), "F16"),
    "qwen3-next": Variant(
        config(
            "Qwen3NextForCausalLM",
            "qwen3_next",
            **_DELTA_NET
            | {
                "num_hidden_layers": 3,
                "layer_types": ["linear_attention", "full_attention", "linear_attention"],
                "linear_key_head_dim": 24,
                "linear_conv_kernel_dim": 3,
            },
            **_DELTA_EXPERTS | {"num_experts_per_tok": 4},
            mlp_only_layers=[0],
            norm_topk_prob=True,
        )
    ),
}
