"""Models with attention and one feed-forward net a layer."""

from support.variants.form import Variant, config

_STRETCH = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
VARIANTS: dict[str, Variant] = {
    "llama": Variant(
        config(
            "LlamaForCausalLM", "llama", rope_scaling=_STRETCH | {"original_max_position_embeddings": 32}, head_dim=16
        )
    ),
    "llama-biases": Variant(
        config(
            "LlamaForCausalLM",
            "llama",
            rope_scaling={"type": "linear", "factor": 4.0},
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
        ),
        "BF16",
        files=3,
    ),
    "qwen2": Variant(
        config("Qwen2ForCausalLM", "qwen2", use_sliding_window=False, sliding_window=64, num_attention_heads=8), "F16"
    ),
    "qwen3": Variant(
        config(
            "Qwen3ForCausalLM",
            "qwen3",
            head_dim=24,
            rope_theta=1e6,
            hidden_size=80,
            num_attention_heads=5,
            num_key_value_heads=1,
            attention_bias=False,
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "qwen3-untied": Variant(
        config("Qwen3ForCausalLM", "qwen3", head_dim=40, num_key_value_heads=4, rms_norm_eps=1e-6), files=2
    ),
    "phi3": Variant(
        config("Phi3ForCausalLM", "phi3", sliding_window=12, tie_word_embeddings=True, partial_rotary_factor=1.0),
        "BF16",
    ),
    "phi4-mini": Variant(
        config(
            "Phi3ForCausalLM",
            "phi3",
            partial_rotary_factor=0.75,
            original_max_position_embeddings=32,
            rope_scaling={
                "type": "longrope",
                "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5],
                "long_factor": [1.0, 1.25, 1.5, 2.5, 4.0, 8.0],
            },
        )
    ),
    "olmo2": Variant(config("Olmo2ForCausalLM", "olmo2", rope_theta=5e5, attention_bias=False)),
    "olmo3": Variant(
        config(
            "Olmo3ForCausalLM",
            "olmo3",
            num_hidden_layers=3,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_theta=5e5,
            rope_scaling={
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
                "beta_fast": 16.0,
                "beta_slow": 1.0,
                "attention_factor": 1.125,
            },
        ),
        "BF16",
    ),
    "granite": Variant(
        config(
            "GraniteForCausalLM",
            "granite",
            embedding_multiplier=0.5,
            attention_multiplier=0.15625,
            residual_multiplier=0.22,
            logits_scaling=4.0,
            tie_word_embeddings=True,
        ),
        "F16",
    ),
    "mistral": Variant(config("MistralForCausalLM", "mistral", head_dim=24, sliding_window=12), "BF16"),
    "ministral": Variant(
        config(
            "MinistralForCausalLM",
            "ministral",
            num_hidden_layers=3,
            head_dim=16,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
    "ministral3": Variant(
        config(
            "Ministral3ForCausalLM",
            "ministral3",
            head_dim=24,
            max_position_embeddings=256,
            rope_parameters={
                "rope_type": "yarn",
                "type": "yarn",
                "rope_theta": 1e6,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "max_position_embeddings": 256,
                "beta_fast": 4.0,
                "beta_slow": 1.0,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "llama_4_scaling_beta": 0.1,
            },
        )
    ),
    "smollm3": Variant(
        config(
            "SmolLM3ForCausalLM",
            "smollm3",
            num_hidden_layers=4,
            no_rope_layers=[1, 1, 1, 0],
            use_sliding_window=False,
        ),
        "BF16",
    ),
    "exaone": Variant(
        config(
            "ExaoneForCausalLM",
            "exaone",
            rope_theta=5e5,
            rope_scaling=_STRETCH | {"original_max_position_embeddings": 32},
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "exaone4": Variant(
        config(
            "Exaone4ForCausalLM",
            "exaone4",
            num_hidden_layers=4,
            sliding_window=8,
            sliding_window_pattern="LLLG",
            layer_types=[*["sliding_attention"] * 3, "full_attention"],
            rope_scaling=_STRETCH | {"original_max_position_embeddings": 32},
        )
    ),
    "exaone4-global": Variant(
        config(
            "Exaone4ForCausalLM",
            "exaone4",
            sliding_window=None,
            layer_types=["full_attention"] * 2,
            tie_word_embeddings=True,
        ),
        "F16",
    ),
    "glm4": Variant(
        config("Glm4ForCausalLM", "glm4", head_dim=24, attention_bias=False, partial_rotary_factor=0.5), "BF16"
    ),
    "glm": Variant(config("GlmForCausalLM", "glm", head_dim=20, attention_bias=True, partial_rotary_factor=0.5)),
    "seed-oss": Variant(
        config("SeedOssForCausalLM", "seed_oss", head_dim=24, attention_bias=True, attention_out_bias=False), "F16"
    ),
    "hunyuan-dense": Variant(
        config(
            "HunYuanDenseV1ForCausalLM",
            "hunyuan_v1_dense",
            head_dim=16,
            attention_bias=False,
            use_qk_norm=True,
            rope_scaling={"type": "dynamic", "alpha": 1000.0, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
            tie_word_embeddings=True,
        )
    ),
    "ernie4.5": Variant(
        config("Ernie4_5ForCausalLM", "ernie4_5", head_dim=24, rope_theta=5e5, tie_word_embeddings=True), "BF16"
    ),
    "ernie4.5-biases": Variant(config("Ernie4_5ForCausalLM", "ernie4_5", head_dim=16, use_bias=True)),
    "internlm3": Variant(
        config(
            "InternLM3ForCausalLM",
            "internlm3",
            head_dim=16,
            qkv_bias=True,
            bias=True,
            rope_scaling={"rope_type": "dynamic", "factor": 6.0},
        )
    ),
    "internlm2": Variant(
        config(
            "InternLM2ForCausalLM",
            "internlm2",
            num_attention_heads=8,
            bias=False,
            rope_scaling={"type": "dynamic", "factor": 2.0},
        ),
        "F16",
    ),
    "minicpm": Variant(
        config(
            "MiniCPMForCausalLM",
            "minicpm",
            num_hidden_layers=3,
            scale_emb=12,
            scale_depth=1.4,
            dim_model_base=16,
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "iquest-coder": Variant(config("IQuestCoderForCausalLM", "iquestcoder", head_dim=24, rope_theta=5e5), "BF16"),
    "cwm": Variant(
        config(
            "CwmForCausalLM",
            "cwm",
            num_hidden_layers=3,
            head_dim=16,
            sliding_window=8,
            layer_types=["full_attention", "sliding_attention", "sliding_attention"],
            rope_scaling=_STRETCH | {"original_max_position_embeddings": 32},
        ),
        "BF16",
    ),
    "bitnet": Variant(
        config("BitNetForCausalLM", "bitnet", num_hidden_layers=3, hidden_act="relu2", attention_bias=False), "F16"
    ),
    "helium": Variant(
        config("HeliumForCausalLM", "helium", num_key_value_heads=4, head_dim=16, rms_norm_eps=1e-8), "F16"
    ),
    "olmo": Variant(config("OlmoForCausalLM", "olmo", clip_qkv=None), "F16"),
    "gptneox": Variant(
        config(
            "GPTNeoXForCausalLM",
            "gpt_neox",
            num_key_value_heads=4,
            hidden_act="gelu",
            layer_norm_eps=1e-5,
            rope_theta=None,
            rotary_pct=0.5,
            rotary_emb_base=20000,
            use_parallel_residual=True,
        ),
        "F16",
    ),
    "stablelm": Variant(
        config(
            "StableLmForCausalLM",
            "stablelm",
            layer_norm_eps=1e-5,
            partial_rotary_factor=0.25,
            use_qkv_bias=True,
            qk_layernorm=False,
            use_parallel_residual=False,
        )
    ),
    "arcee": Variant(
        config("ArceeForCausalLM", "arcee", hidden_act="relu2", attention_bias=False, mlp_bias=False), "BF16"
    ),
    "nemotron": Variant(
        config(
            "NemotronForCausalLM",
            "nemotron",
            norm_eps=1e-5,
            hidden_act="relu2",
            partial_rotary_factor=0.5,
            attention_bias=False,
            mlp_bias=False,
        )
    ),
    "starcoder2": Variant(
        config(
            "Starcoder2ForCausalLM",
            "starcoder2",
            norm_epsilon=1e-5,
            use_bias=True,
            hidden_act="gelu_pytorch_tanh",
            sliding_window=12,
            tie_word_embeddings=True,
        ),
        "F16",
    ),
    "command-r": Variant(
        config(
            "CohereForCausalLM",
            "cohere",
            layer_norm_eps=1e-5,
            logit_scale=0.25,
            use_qk_norm=False,
            attention_bias=False,
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "cohere2": Variant(
        config(
            "Cohere2ForCausalLM",
            "cohere2",
            num_hidden_layers=4,
            head_dim=16,
            layer_norm_eps=1e-5,
            logit_scale=0.25,
            attention_bias=False,
            sliding_window=12,
            layer_types=[*["sliding_attention"] * 3, "full_attention"],
            tie_word_embeddings=True,
        )
    ),
}
