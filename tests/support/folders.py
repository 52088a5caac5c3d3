"""Tiny random models as folders of safetensors, one for each thing that architectures do differently.

Like those of `support.tiny` they are the same bytes everywhere, so that what another program computed of them can be
kept.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from intact.conformance.synthetic import random_floats
from intact.formats import Checkpoint
from intact.models import Decoder, find_architecture
from support.tiny import entry_of, fused_shapes, tensor_shapes, tokenizer_metadata

VOCABULARY = 301
TOKENS = tuple((37 * i * i + 11 * i + 5) % VOCABULARY for i in range(40))
"""The text on which the models are compared: longer than the windows and the stretched waves."""


class Variant(NamedTuple):
    """A model: config.json, how its tensors are stored, and in how many files."""

    config: Mapping[str, Any]
    kind: str = "F32"
    files: int = 1
    prefix: str = ""


def _config(architecture: str, kind: str, **others: Any) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": kind,
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    } | others


def _with_pictures(text: dict[str, Any], kind: str) -> Variant:
    """A model that reads pictures too, by its text part."""
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 64}
    whole = {"architectures": text["architectures"], "model_type": kind, "text_config": text, "vision_config": vision}
    return Variant(whole | {"tie_word_embeddings": False}, "BF16", prefix="model.language_model.")


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
"""With `time_step_min` as Transformers bounds steps from below by it, which the authors' program does not."""
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
_SIGMOIDS = {
    "num_hidden_layers": 3,
    "n_routed_experts": 12,
    "num_experts_per_tok": 4,
    "n_shared_experts": 2,
    "moe_intermediate_size": 48,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 0.5,
    "norm_topk_prob": True,
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
_STRETCH = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}

VARIANTS: dict[str, Variant] = {
    "llama": Variant(
        _config(
            "LlamaForCausalLM", "llama", rope_scaling=_STRETCH | {"original_max_position_embeddings": 32}, head_dim=16
        )
    ),
    "llama-biases": Variant(
        _config(
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
        _config("Qwen2ForCausalLM", "qwen2", use_sliding_window=False, sliding_window=64, num_attention_heads=8), "F16"
    ),
    "qwen3": Variant(
        _config(
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
        _config("Qwen3ForCausalLM", "qwen3", head_dim=40, num_key_value_heads=4, rms_norm_eps=1e-6), files=2
    ),
    "phi3": Variant(
        _config("Phi3ForCausalLM", "phi3", sliding_window=12, tie_word_embeddings=True, partial_rotary_factor=1.0),
        "BF16",
    ),
    "phi4-mini": Variant(
        _config(
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
    "olmo2": Variant(_config("Olmo2ForCausalLM", "olmo2", rope_theta=5e5, attention_bias=False)),
    "olmo3": Variant(
        _config(
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
        _config(
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
    "mistral": Variant(_config("MistralForCausalLM", "mistral", head_dim=24, sliding_window=12), "BF16"),
    "ministral": Variant(
        _config(
            "MinistralForCausalLM",
            "ministral",
            num_hidden_layers=3,
            head_dim=16,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
    "ministral3": Variant(
        _config(
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
        _config(
            "SmolLM3ForCausalLM",
            "smollm3",
            num_hidden_layers=4,
            no_rope_layers=[1, 1, 1, 0],
            use_sliding_window=False,
        ),
        "BF16",
    ),
    "exaone": Variant(
        _config(
            "ExaoneForCausalLM",
            "exaone",
            rope_theta=5e5,
            rope_scaling=_STRETCH | {"original_max_position_embeddings": 32},
            tie_word_embeddings=True,
        ),
        "BF16",
    ),
    "exaone4": Variant(
        _config(
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
        _config(
            "Exaone4ForCausalLM",
            "exaone4",
            sliding_window=None,
            layer_types=["full_attention"] * 2,
            tie_word_embeddings=True,
        ),
        "F16",
    ),
    "glm4": Variant(
        _config("Glm4ForCausalLM", "glm4", head_dim=24, attention_bias=False, partial_rotary_factor=0.5), "BF16"
    ),
    "glm": Variant(_config("GlmForCausalLM", "glm", head_dim=20, attention_bias=True, partial_rotary_factor=0.5)),
    "seed-oss": Variant(
        _config("SeedOssForCausalLM", "seed_oss", head_dim=24, attention_bias=True, attention_out_bias=False), "F16"
    ),
    "hunyuan-dense": Variant(
        _config(
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
        _config("Ernie4_5ForCausalLM", "ernie4_5", head_dim=24, rope_theta=5e5, tie_word_embeddings=True), "BF16"
    ),
    "ernie4.5-biases": Variant(_config("Ernie4_5ForCausalLM", "ernie4_5", head_dim=16, use_bias=True)),
    "internlm3": Variant(
        _config(
            "InternLM3ForCausalLM",
            "internlm3",
            head_dim=16,
            qkv_bias=True,
            bias=True,
            rope_scaling={"rope_type": "dynamic", "factor": 6.0},
        )
    ),
    "internlm2": Variant(
        _config(
            "InternLM2ForCausalLM",
            "internlm2",
            num_attention_heads=8,
            bias=False,
            rope_scaling={"type": "dynamic", "factor": 2.0},
        ),
        "F16",
    ),
    "minicpm": Variant(
        _config(
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
    "ernie4.5-moe": Variant(
        _config(
            "Ernie4_5_MoeForCausalLM",
            "ernie4_5_moe",
            num_hidden_layers=3,
            use_bias=False,
            moe_num_experts=6,
            moe_k=2,
            moe_num_shared_experts=2,
            moe_intermediate_size=48,
            moe_layer_start_index=1,
        ),
        "BF16",
    ),
    "minicpm3": Variant(
        _config(
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
    "iquest-coder": Variant(_config("IQuestCoderForCausalLM", "iquestcoder", head_dim=24, rope_theta=5e5), "BF16"),
    "cwm": Variant(
        _config(
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
    "afmoe": Variant(
        _config(
            "AfmoeForCausalLM",
            "afmoe",
            num_hidden_layers=4,
            head_dim=24,
            mup_enabled=True,
            global_attn_every_n_layers=4,
            layer_types=[*["sliding_attention"] * 3, "full_attention"],
            sliding_window=8,
            num_dense_layers=1,
            num_experts=12,
            num_experts_per_tok=4,
            num_shared_experts=2,
            moe_intermediate_size=48,
            route_norm=True,
            route_scale=1.5,
        ),
        "BF16",
    ),
    "bitnet": Variant(
        _config("BitNetForCausalLM", "bitnet", num_hidden_layers=3, hidden_act="relu2", attention_bias=False), "F16"
    ),
    "helium": Variant(
        _config("HeliumForCausalLM", "helium", num_key_value_heads=4, head_dim=16, rms_norm_eps=1e-8), "F16"
    ),
    "gemma3": Variant(
        _config(
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
        _config(
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
        _config(
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
        _config(
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
    "qwen2.5-vl": _with_pictures(
        _config(
            "Qwen2_5_VLForConditionalGeneration",
            "qwen2_5_vl_text",
            rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]},
        ),
        "qwen2_5_vl",
    ),
    "qwen3-vl": _with_pictures(
        _config(
            "Qwen3VLForConditionalGeneration",
            "qwen3_vl_text",
            head_dim=24,
            rope_scaling={"rope_type": "default", "mrope_interleaved": True, "mrope_section": [4, 4, 4]},
        ),
        "qwen3_vl",
    ),
    "qwen3-vl-moe": _with_pictures(
        _config(
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
    "gemma": Variant(
        _config(
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
    "olmo": Variant(_config("OlmoForCausalLM", "olmo", clip_qkv=None), "F16"),
    "vaultgemma": Variant(
        _config(
            "VaultGemmaForCausalLM",
            "vaultgemma",
            **_GEMMA,
            layer_types=["full_attention"] * 3,
            attn_logit_softcapping=2.5,
            final_logit_softcapping=30.0,
        )
    ),
    "mixtral": Variant(
        _config(
            "MixtralForCausalLM",
            "mixtral",
            head_dim=24,
            num_local_experts=5,
            num_experts_per_tok=2,
            sliding_window=None,
        ),
        files=2,
    ),
    "gptneox": Variant(
        _config(
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
    "glm4moe": Variant(
        _config(
            "Glm4MoeForCausalLM",
            "glm4_moe",
            **_SIGMOIDS,
            head_dim=24,
            partial_rotary_factor=0.5,
            attention_bias=True,
            use_qk_norm=True,
            num_nextn_predict_layers=0,
        ),
        "BF16",
    ),
    "glm4moe-air": Variant(
        _config(
            "Glm4MoeForCausalLM",
            "glm4_moe",
            **_SIGMOIDS | {"first_k_dense_replace": 2, "n_group": 4, "topk_group": 2},
            partial_rotary_factor=0.5,
            attention_bias=True,
            use_qk_norm=False,
            num_nextn_predict_layers=0,
        )
    ),
    "solar-open": Variant(
        _config("SolarOpenForCausalLM", "solar_open", **_SIGMOIDS | {"first_k_dense_replace": 0}, head_dim=16), "F16"
    ),
    "dots1": Variant(_config("Dots1ForCausalLM", "dots1", **_SIGMOIDS, head_dim=24, sliding_window=None), "BF16"),
    "bailingmoe2": Variant(
        _config(
            "BailingMoeV2ForCausalLM",
            "bailing_moe",
            **{own: value for own, value in _SIGMOIDS.items() if own not in ("n_routed_experts", "n_shared_experts")}
            | {"n_group": 4, "topk_group": 2},
            num_experts=12,
            num_shared_experts=1,
            moe_shared_expert_intermediate_size=48,
            head_dim=24,
            partial_rotary_factor=0.5,
            score_function="sigmoid",
            use_qk_norm=True,
            use_qkv_bias=False,
            use_bias=False,
            moe_router_enable_expert_bias=True,
        ),
        "BF16",
    ),
    "minimax-m2": Variant(
        _config(
            "MiniMaxM2ForCausalLM",
            "minimax_m2",
            head_dim=24,
            rotary_dim=16,
            num_local_experts=12,
            num_experts_per_tok=4,
            scoring_func="sigmoid",
            use_qk_norm=True,
            use_routing_bias=True,
        ),
        "BF16",
    ),
    "hunyuan-moe": Variant(
        _config(
            "HunYuanMoEV1ForCausalLM",
            "hunyuan_v1_moe",
            head_dim=16,
            attention_bias=False,
            use_qk_norm=True,
            num_experts=6,
            moe_topk=[2, 2],
            moe_intermediate_size=[112, 112],
            num_shared_expert=[1, 1],
            use_mixed_mlp_moe=True,
            rope_scaling={"type": "dynamic", "alpha": 1000.0, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
            tie_word_embeddings=True,
        )
    ),
    "exaone-moe": Variant(
        _config(
            "ExaoneMoeForCausalLM",
            "exaone_moe",
            **{own: value for own, value in _SIGMOIDS.items() if own not in ("n_routed_experts", "n_shared_experts")},
            num_experts=12,
            num_shared_experts=2,
            head_dim=24,
            sliding_window=8,
            sliding_window_pattern="LLG",
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            mlp_layer_types=["dense", "sparse", "sparse"],
        ),
        "BF16",
    ),
    "qwen2moe": Variant(
        _config(
            "Qwen2MoeForCausalLM",
            "qwen2_moe",
            num_hidden_layers=3,
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=48,
            shared_expert_intermediate_size=80,
            norm_topk_prob=False,
            decoder_sparse_step=1,
            mlp_only_layers=[1],
            use_sliding_window=False,
        ),
        "BF16",
    ),
    "qwen3moe": Variant(
        _config(
            "Qwen3MoeForCausalLM",
            "qwen3_moe",
            head_dim=24,
            num_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=40,
            norm_topk_prob=True,
            decoder_sparse_step=1,
            mlp_only_layers=[],
            attention_bias=False,
        ),
        "F16",
    ),
    "olmoe": Variant(
        _config(
            "OlmoeForCausalLM",
            "olmoe",
            num_key_value_heads=4,
            num_experts=8,
            num_experts_per_tok=2,
            norm_topk_prob=False,
            clip_qkv=None,
        ),
        "BF16",
    ),
    "granitemoe": Variant(
        _config(
            "GraniteMoeSharedForCausalLM",
            "granitemoeshared",
            embedding_multiplier=0.5,
            attention_multiplier=0.15625,
            residual_multiplier=0.22,
            logits_scaling=4.0,
            num_local_experts=6,
            num_experts_per_tok=2,
            shared_intermediate_size=40,
            tie_word_embeddings=True,
        ),
        "F16",
    ),
    "granitemoe-alone": Variant(
        _config(
            "GraniteMoeForCausalLM",
            "granitemoe",
            embedding_multiplier=1.0,
            attention_multiplier=0.25,
            residual_multiplier=1.0,
            logits_scaling=6.0,
            num_local_experts=5,
            num_experts_per_tok=3,
        )
    ),
    "stablelm": Variant(
        _config(
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
        _config("ArceeForCausalLM", "arcee", hidden_act="relu2", attention_bias=False, mlp_bias=False), "BF16"
    ),
    "nemotron": Variant(
        _config(
            "NemotronForCausalLM",
            "nemotron",
            norm_eps=1e-5,
            hidden_act="relu2",
            partial_rotary_factor=0.5,
            attention_bias=False,
            mlp_bias=False,
        )
    ),
    "gpt-oss": Variant(
        _config(
            "GptOssForCausalLM",
            "gpt_oss",
            head_dim=24,
            intermediate_size=40,
            num_local_experts=6,
            num_experts_per_tok=3,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"],
            swiglu_limit=7.0,
            rope_theta=150000.0,
            rope_scaling={
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
            },
        )
    ),
    "starcoder2": Variant(
        _config(
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
        _config(
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
    "lfm2": Variant(
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config("NemotronHForCausalLM", "nemotron_h", **_NEMOTRON_H, hybrid_override_pattern="M-*M-"), "BF16"
    ),
    "nemotron-h-biases": Variant(
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
    "jamba": Variant(
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
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
        _config(
            "Qwen3_5ForCausalLM",
            "qwen3_5_text",
            **_DELTA_NET,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1]},
        )
    ),
    "qwen3.5-tied": Variant(
        _config(
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
    "qwen3.5-moe": Variant(_config("Qwen3_5MoeForCausalLM", "qwen3_5_moe_text", **_DELTA_NET, **_DELTA_EXPERTS), "F16"),
    "qwen3-next": Variant(
        _config(
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
    "deepseek-v2-lite": Variant(
        _config(
            "DeepseekV2ForCausalLM",
            "deepseek_v2",
            **_LATENT | {"q_lora_rank": None},
            norm_topk_prob=False,
            topk_method="greedy",
            rope_scaling=_STRETCHED | {"mscale": 0.707, "mscale_all_dim": 0.707},
        )
    ),
    "deepseek-v2": Variant(
        _config(
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
        _config(
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
        _config(
            "DeepseekV3ForCausalLM",
            "deepseek_v3",
            **_LATENT | {"q_lora_rank": None, "first_k_dense_replace": 0},
            norm_topk_prob=False,
            num_nextn_predict_layers=0,
        )
    ),
    "glm4-moe-lite": Variant(
        _config(
            "Glm4MoeLiteForCausalLM",
            "glm4_moe_lite",
            **_LATENT | {"v_head_dim": 24, "routed_scaling_factor": 1.8},
            mlp_layer_types=["dense", "sparse", "sparse"],
        )
    ),
    "cohere2": Variant(
        _config(
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


_ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "tie_word_embeddings": True,
    "num_labels": 1,
    "id2label": {"0": "LABEL_0"},
}
_BERT = _ENCODER | {
    "model_type": "bert",
    "max_position_embeddings": 48,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
}
_XLM_ROBERTA = _ENCODER | {
    "model_type": "xlm-roberta",
    "max_position_embeddings": 50,
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
ENCODERS: dict[str, Variant] = {
    "bert": Variant(_BERT | {"architectures": ["BertModel"]}),
    "bert-reranker": Variant(_BERT | {"architectures": ["BertForSequenceClassification"]}, prefix="bert."),
    "xlm-roberta": Variant(_XLM_ROBERTA | {"architectures": ["XLMRobertaModel"]}, "F16"),
    "xlm-roberta-reranker": Variant(
        _XLM_ROBERTA | {"architectures": ["XLMRobertaForSequenceClassification"]}, prefix="roberta."
    ),
}
"""Encoders, and rerankers that are encoders with a head."""
CLS, SEP = 0, 2
PAIR = (CLS, *(t for t in TOKENS[:17] if t > 2), SEP, *(t for t in TOKENS[17:] if t > 2), SEP)
"""A text of two, as a reranker reads them."""

MATRICES = {
    "position_embd": 4.0,
    "token_types": 4.0,
    "attn_q": 1.5,
    "attn_k": 1.5,
    "attn_v": 1.5,
    "attn_qkv": 1.5,
    "ffn_gate": 1.5,
    "ffn_gate_inp": 6.0,
    "mlp.gate": 6.0,
    "mlp.router": 6.0,
    "block_sparse_moe.gate": 6.0,
    "attn_gate": 0.25,
    "attn_output": 1.0,
    "delta_qkvz": 0.4,
    "in_proj": 0.7,
    "output": 3.0,
}
"""Sizes of random matrices by the ends of their names; 1 for others."""
GAINS = {
    "attn_sinks": (1.0, 2.0),
    "attn_q_norm": (1.3, 0.3),
    "attn_k_norm": (1.3, 0.3),
    "post_ffw_norm": (0.8, 0.2),
} | {"ssm_a": (-1.0, 1.5)}
"""Means and sizes of random gains; 1 and 0.2 for others."""
OWN_GAINS = {"gemma4": {"attn_q_norm": (0.2, 0.1), ".post_norm": (0.3, 0.2)}}
OWN_MATRICES = {"gemma4": {"ffn_gate_inp": 48.0}}
"""An architecture's sizes where they are others: Gemma 4 divides the router's row by the root of the width, and scores
not by that of a head's."""
OWN_SIZES = {
    "afmoe": (1.0, 1.0),
    "gemma": (1.0, 3.0),
    "gemma2": (1.0, 3.0),
    "gemma3": (1.0, 3.0),
    "gemma4": (1.0, 3.0),
    "granite": (4.0, 4.0),
    "granitemoe": (4.0, 4.0),
    "granitehybrid": (4.0, 3.0),
    "falcon-h1": (8.0, 0.6),
    "jamba": (8.0, 0.15),
    "mamba": (8.0, 0.15),
    "minicpm": (1.0, 4.0),
    "lfm2": (8.0, 0.5),
    "lfm2moe": (8.0, 0.5),
}
"""The size of an architecture's embedding and the mean of its last norm; 8 and 1 for others."""


def hf_name(architecture: type[Decoder], name: str) -> str:
    """The name in safetensors of a tensor, or of several that are stored as one."""
    parts = name.split(".")
    if len(parts) == 4 and parts[2] in architecture.fused:
        return f"model.layers.{parts[1]}.{architecture.fused[parts[2]]}.{parts[3]}"
    return architecture.hf_name(name)


def tensor_values(config: Mapping[str, Any], seed: str) -> dict[str, np.ndarray]:
    """Random weights, float32, under Transformers' names."""
    checkpoint = Checkpoint(Path(seed), "safetensors", config, {})
    architecture = find_architecture(checkpoint)
    embedding, last = OWN_SIZES.get(architecture.own_name() or "", (8.0, 1.0))
    own = architecture.own_name() or ""
    matrices = MATRICES | {"token_embd": embedding} | OWN_MATRICES.get(own, {})
    gains = GAINS | {"output_norm": (last, 0.2)} | OWN_GAINS.get(own, {})
    out: dict[str, np.ndarray] = {}
    shapes = tensor_shapes(architecture, checkpoint, config["vocab_size"], config["tie_word_embeddings"])
    for name, shape in fused_shapes(shapes, architecture.fused, stacked=False).items():
        own, (stem, _, end) = hf_name(architecture, name), name.rpartition(".")
        if end == "bias":
            out[own] = random_floats(f"{seed}|{own}", shape, 0.5)
            if ".moe_statics." in own:  # of one group of experts
                out[own] = out[own][None] / 4
        elif len(shape) == 2:
            size = entry_of(stem, matrices, 1.0) / shape[1] ** 0.5
            out[own] = random_floats(f"{seed}|{own.removesuffix('.weight')}", shape, size)
            if stem.endswith(("shortconv.conv", "ssm_conv1d")):  # as torch's Conv1d has them
                out[own] = out[own][:, None]
        else:
            mean, size = entry_of(name if end.startswith("ssm_") else stem, gains, (1.0, 0.2))
            values = random_floats(f"{seed}|{own.removesuffix('.weight')}", shape, size)
            offset = 0.0 if ".ssm_" in name else architecture.hf_gain_offset
            out[own] = (values + np.float32(mean - offset)).astype(np.float32)
    out = {name.replace("model.", architecture.hf_beginning, 1): array for name, array in out.items()}
    return stack_experts(architecture, out, config)


def stack_experts(
    architecture: type[Decoder], values: dict[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The weights with the matrices of experts as one tensor, where the architecture's files have it so."""
    for i in range(config["num_hidden_layers"]):
        for own, stems in architecture.hf_stacked.items():
            assert architecture.mixture is not None
            names = [
                [architecture.hf_name(f"blk.{i}.{stem}.{e}.weight") for stem in stems]
                for e in range(config.get(architecture.mixture.hf_count) or 0)
            ]
            if not names:
                continue
            stacked = np.stack([np.concatenate([values.pop(name) for name in some]) for some in names])
            end = (
                "" if architecture.gguf in ("qwen35moe", "gemma4") else ".weight"
            )  # as Transformers' modules have them
            values[f"model.layers.{i}.{own}{end}"] = stacked
    if architecture.gguf == "qwen3vlmoe":
        return _inputs_by_outputs(values, config)
    return _as_gpt_oss(values, config) if architecture.gguf == "gpt-oss" else values


def _inputs_by_outputs(values: dict[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weights as Qwen3-VL's folders have them: of all experts as one, gates before ups, turned over."""
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}.mlp.experts."
        for own, parts in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
            stacks = [
                np.concatenate([values.pop(f"{layer}{e}.{part}.weight") for part in parts])
                for e in range(config["num_experts"])
            ]
            values[layer + own] = np.stack(stacks).swapaxes(1, 2)
    return values


def _as_gpt_oss(values: dict[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weights as gpt-oss's folders have them: gates and ups take turns, and matrices are inputs by outputs."""
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for own, parts in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
            for end, suffix in (("weight", ""), ("bias", "_bias")):
                stacks = [
                    np.stack([values.pop(f"{layer}mlp.experts.{e}.{part}.{end}") for part in parts], axis=1)
                    for e in range(config["num_local_experts"])
                ]
                rows = np.stack([stack.reshape(-1, *stack.shape[2:]) for stack in stacks])
                values[f"{layer}mlp.experts.{own}{suffix}"] = rows if end == "bias" else rows.swapaxes(1, 2)
    return values


def stored(values: np.ndarray, kind: str) -> bytes:
    """Values as they are stored; BF16 is cut, not rounded."""
    if kind == "BF16":
        return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    return values.astype("<f4" if kind == "F32" else "<f2").tobytes()


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    """Write a file: name -> (kind, shape, bytes)."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (kind, shape, content) in tensors.items():
        ends = [len(data), len(data) + len(content)]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": ends}  # type: ignore[dict-item]
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tokenizer_json(vocabulary: int = VOCABULARY) -> dict[str, Any]:
    """The tokenizer of `support.tiny`, as tokenizer.json."""
    own = tokenizer_metadata(vocabulary)
    tokens = own["tokenizer.ggml.tokens"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **added} for i in range(3)],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": own["tokenizer.ggml.merges"],
        },
    }


def encoder_tokenizer(pair: Sequence[str] = ("[CLS]", "$A", "[SEP]", "$B:1", "[SEP]:1")) -> dict[str, Any]:
    """The same with control tokens and the forms of one text and of two, as encoders have them."""
    own = tokenizer_json()
    for name, number in (("[CLS]", CLS), ("[SEP]", SEP)):
        old = own["added_tokens"][number]["content"]
        own["added_tokens"][number]["content"] = name
        own["model"]["vocab"][name] = own["model"]["vocab"].pop(old)

    def part(text: str) -> dict[str, Any]:
        name, _, kind = text.partition(":")
        value = {"id": name.removeprefix("$"), "type_id": int(kind or 0)}
        return {"Sequence" if name.startswith("$") else "SpecialToken": value}

    special = {
        name: {"id": name, "ids": [number], "tokens": [name]} for name, number in (("[CLS]", CLS), ("[SEP]", SEP))
    }
    own["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [part(text) for text in ("[CLS]", "$A", "[SEP]")],
        "pair": [part(text) for text in pair],
        "special_tokens": special,
    }
    return own


def write_encoder(folder: Path, variant: Variant, seed: str, pooling: str | None = None) -> Path:
    """Write an encoder's folder, a reranker's with its head; `pooling` is a mode of Sentence Transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = dict(variant.config) | {"architectures": ["XLMRobertaModel"]}
    if variant.config["model_type"] == "bert":
        plain["architectures"] = ["BertModel"]
    values = {variant.prefix + name: array for name, array in tensor_values(plain, seed).items()}
    width, bert = variant.config["hidden_size"], variant.config["model_type"] == "bert"
    first, last = (
        (variant.prefix + "pooler.dense", "classifier") if bert else ("classifier.dense", "classifier.out_proj")
    )
    if variant.prefix:
        for stem, rows, size in ((first, width, 1.0), (last, 1, 2.0)):
            values[stem + ".weight"] = random_floats(f"{seed}|{stem}", (rows, width), size / width**0.5)
            values[stem + ".bias"] = random_floats(f"{seed}|{stem}.bias", (rows,), 0.5)
    tensors = {name: (variant.kind, array.shape, stored(array, variant.kind)) for name, array in values.items()}
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(variant.config))
    pair = ("[CLS]", "$A", "[SEP]", "$B:1", "[SEP]:1") if bert else ("[CLS]", "$A", "[SEP]", "[SEP]", "$B", "[SEP]")
    (folder / "tokenizer.json").write_text(json.dumps(encoder_tokenizer(pair)))
    if pooling is not None:
        kinds = (("Transformer", ""), ("Pooling", "1_Pooling"))
        modules = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        settings = {"word_embedding_dimension": width, f"pooling_mode_{pooling}": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    return folder


def _prefixed(prefix: str, name: str) -> str:
    """A tensor's name in a model whose text part has a prefix: of the decoder, or before all."""
    return name.replace("model.", prefix, 1) if prefix.startswith("model.") else prefix + name


def write_folder(folder: Path, variant: Variant, seed: str, changes: Mapping[str, Any] | None = None) -> Path:
    """Write a model's folder.

    Parameters
    ----------
    changes : mapping
        Arrays that replace tensors, or None to leave one out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = variant.config.get("text_config", variant.config)
    values = tensor_values(config, seed) | dict(changes or {})
    tensors = {
        _prefixed(variant.prefix, name): (variant.kind, array.shape, stored(array, variant.kind))
        for name, array in values.items()
        if array is not None
    }
    if variant.prefix:
        tensors["vision_tower.patches.weight"] = ("F32", (2, 2), bytes(16))
    names = list(tensors)
    if variant.files == 1:
        write_safetensors(folder / "model.safetensors", tensors)
    else:
        where = {
            name: f"model-{i % variant.files + 1:05}-of-{variant.files:05}.safetensors" for i, name in enumerate(names)
        }
        for file in set(where.values()):
            write_safetensors(folder / file, {name: tensors[name] for name in names if where[name] == file})
        index = {"metadata": {}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(variant.config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    return folder
