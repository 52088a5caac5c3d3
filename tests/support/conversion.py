"""GGUF files as llama.cpp's converter makes them, of the tiny models that folders are written of, in F32."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.gguf_writer import write_gguf
from support.tiny import tokenizer_metadata

gguf = pytest.importorskip("gguf", reason="needs the gguf package, which has llama.cpp's names of tensors")

CONVERTED = {
    "afmoe": ("afmoe", False),
    "arcee": ("arcee", True),
    "bailingmoe2": ("bailingmoe2", False),
    "cohere2": ("cohere2", False),
    "command-r": ("command-r", False),
    "deepseek-v2": ("deepseek2", False),
    "deepseek-v2-lite": ("deepseek2", False),
    "deepseek-v3": ("deepseek2", False),
    "deepseek-v3-ungrouped": ("deepseek2", False),
    "dots1": ("dots1", False),
    "ernie4.5": ("ernie4_5", False),
    "ernie4.5-moe": ("ernie4_5-moe", False),
    "exaone": ("exaone", False),
    "exaone4": ("exaone4", False),
    "exaone4-global": ("exaone4", False),
    "exaone-moe": ("exaone-moe", False),
    "falcon-h1": ("falcon-h1", False),
    "falcon-h1-groups": ("falcon-h1", False),
    "falcon-h1-norm": ("falcon-h1", False),
    "gemma": ("gemma", False),
    "gemma2": ("gemma2", False),
    "gemma4": ("gemma4", False),
    "gemma4-moe": ("gemma4", False),
    "glm": ("chatglm", False),
    "glm4": ("glm4", False),
    "glm4-moe-lite": ("deepseek2", False),
    "glm4moe": ("glm4moe", False),
    "gpt-oss": ("gpt-oss", False),
    "gptneox": ("gptneox", False),
    "granite": ("granite", True),
    "granite4": ("granite", True),
    "granite4-h": ("granitehybrid", True),
    "granite4-h-dense": ("granitehybrid", True),
    "hunyuan-dense": ("hunyuan-dense", False),
    "hunyuan-moe": ("hunyuan-moe", False),
    "internlm2": ("internlm2", True),
    "internlm3": ("llama", True),
    "lfm2": ("lfm2", False),
    "lfm2-taps": ("lfm2", False),
    "lfm2moe": ("lfm2moe", False),
    "jamba": ("jamba", False),
    "jamba-dense": ("jamba", False),
    "llama": ("llama", True),
    "mamba": ("mamba", False),
    "mamba2": ("mamba2", False),
    "mamba2-groups": ("mamba2", False),
    "minicpm": ("minicpm", True),
    "minicpm3": ("minicpm3", False),
    "minimax-m2": ("minimax-m2", False),
    "ministral3": ("mistral3", True),
    "mistral": ("llama", True),
    "mixtral": ("llama", True),
    "nemotron": ("nemotron", False),
    "nemotron-h": ("nemotron_h", False),
    "nemotron-h-biases": ("nemotron_h", False),
    "nemotron-h-moe": ("nemotron_h_moe", False),
    "olmo": ("olmo", True),
    "olmo2": ("olmo2", False),
    "olmo3": ("olmo2", False),
    "olmoe": ("olmoe", False),
    "phi3": ("phi3", False),
    "phi4-mini": ("phi3", False),
    "qwen2.5-vl": ("qwen2vl", False),
    "qwen2moe": ("qwen2moe", False),
    "qwen3": ("qwen3", False),
    "qwen3moe": ("qwen3moe", False),
    "qwen3-next": ("qwen3next", False),
    "qwen3-vl": ("qwen3vl", False),
    "qwen3-vl-moe": ("qwen3vlmoe", False),
    "qwen3.5": ("qwen35", False),
    "qwen3.5-moe": ("qwen35moe", False),
    "qwen3.5-tied": ("qwen35", False),
    "seed-oss": ("seed_oss", False),
    "smollm3": ("smollm3", True),
    "solar-open": ("glm4moe", False),
    "stablelm": ("stablelm", False),
    "starcoder2": ("starcoder2", False),
}
"""The variants with the name of their architecture in GGUF, and whether the converter brings rotary pairs together."""
COMMON = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.freq_base": "rope_theta",
    "attention.sliding_window": "sliding_window",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "attention.scale": "attention_multiplier",
    "logit_scale": "logits_scaling",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
MINICPM = {
    "embedding_scale": lambda c: float(c["scale_emb"]),
    "residual_scale": lambda c: c["scale_depth"] / c["num_hidden_layers"] ** 0.5,
    "logit_scale": lambda c: c["hidden_size"] / c["dim_model_base"],
}
DEEPSEEK = {
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.q_lora_rank": "q_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
    "expert_count": "n_routed_experts",
    "expert_shared_count": "n_shared_experts",
    "expert_weights_scale": "routed_scaling_factor",
    "expert_group_count": "n_group",
    "expert_group_used_count": "topk_group",
    "leading_dense_block_count": "first_k_dense_replace",
}
SIGMOIDS = {
    "expert_shared_count": ("n_shared_experts", "num_shared_experts"),
    "expert_count": ("n_routed_experts", "num_experts"),
    "expert_weights_scale": ("routed_scaling_factor",),
    "expert_weights_norm": ("norm_topk_prob",),
    "leading_dense_block_count": ("first_k_dense_replace",),
}
"""Keys of mixtures whose experts are chosen by sigmoids, and their names in config.json."""
MAMBA2 = {
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "state_size",
    "ssm.time_step_rank": "num_heads",
    "ssm.group_count": "n_groups",
}
NEMOTRON_H = {
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "ssm_state_size",
    "ssm.time_step_rank": "mamba_num_heads",
    "ssm.group_count": "n_groups",
}
NEMOTRON_EXPERTS = {
    "expert_count": "n_routed_experts",
    "expert_shared_feed_forward_length": "moe_shared_expert_intermediate_size",
    "expert_weights_scale": "routed_scaling_factor",
}
MAMBA = {
    "ssm.conv_kernel": "conv_kernel",
    "ssm.inner_size": "intermediate_size",
    "ssm.state_size": "state_size",
    "attention.layer_norm_rms_epsilon": "layer_norm_epsilon",
}
HYBRID = {
    "ssm.conv_kernel": "mamba_d_conv",
    "ssm.state_size": "mamba_d_state",
    "ssm.time_step_rank": "mamba_n_heads",
    "ssm.group_count": "mamba_n_groups",
}
DELTA_NET = {
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": "linear_key_head_dim",
    "ssm.time_step_rank": "linear_num_value_heads",
    "ssm.group_count": "linear_num_key_heads",
}
TRINITY = {
    "expert_shared_count": "num_shared_experts",
    "leading_dense_block_count": "num_dense_layers",
    "expert_weights_norm": "route_norm",
    "expert_weights_scale": "route_scale",
}
ERNIE_EXPERTS = {
    "expert_count": "moe_num_experts",
    "expert_used_count": "moe_k",
    "expert_shared_count": "moe_num_shared_experts",
    "leading_dense_block_count": "moe_layer_start_index",
}
GEMMA4_SCALES = {"scale": "ffn_gate_inp.scale", "per_expert_scale": "ffn_down_exps.scale"}
LFM2_EXPERTS = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
"""What the converter makes of the names of LFM2's experts."""
CHANGES = {
    "rms_norm_eps": 2.0**-17,
    "layer_norm_eps": 2.0**-17,
    "norm_eps": 2.0**-17,
    "norm_epsilon": 2.0**-17,
    "layer_norm_epsilon": 2.0**-17,
    "residual_multiplier": 0.25,
    "mlp_only_layers": [],
}
"""Numbers that float32, in which GGUF stores them, holds exactly; experts in all layers, as it has no list of them."""


def _together(matrix: np.ndarray, heads: int) -> np.ndarray:
    """The rows of each head, so that the pairs (i, i + half a head) become neighbours."""
    half = len(matrix) // heads // 2
    return matrix.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(matrix.shape)


def _apart(
    config: dict[str, Any], values: dict[str, np.ndarray], whole: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors with InternLM2's `wqkv` as three: for each KV head it has its queries, its key, its value.

    DeepSeek's `kv_b_proj` as two, as newer files have it, or with `whole` as one.
    """
    kv_heads = config["num_key_value_heads"]
    per = config["num_attention_heads"] // kv_heads
    for name, array in values.items():
        if name.endswith("kv_b_proj.weight") and (whole or config["model_type"] == "minicpm3"):
            yield name, array
            continue
        if name.endswith("kv_b_proj.weight"):  # DeepSeek: keys' matrices turned over, a head behind the other
            heads = array.reshape(config["num_attention_heads"], -1, array.shape[1])
            plain = config["qk_nope_head_dim"]
            yield name.replace("kv_b_proj", "k_b_proj"), heads[:, :plain].swapaxes(1, 2)
            yield name.replace("kv_b_proj", "v_b_proj"), heads[:, plain:]
            continue
        if name.endswith("shared_mlp.input_linear.weight"):  # Granite 4
            gate, up = (f"mlp.{part}" for part in ("gate_proj", "up_proj"))
            if config["num_local_experts"]:
                gate, up = (f"mlp.shared_experts.{part}" for part in ("gate_proj", "up_proj"))
            for part, rows in zip((gate, up), np.split(array, 2), strict=True):
                yield name.replace("shared_mlp.input_linear", part), rows
            continue
        if name.endswith("shared_mlp.output_linear.weight") and not config["num_local_experts"]:
            yield name.replace("shared_mlp.output_linear", "mlp.down_proj"), array
            continue
        if name.endswith("block_sparse_moe.input_linear.weight"):
            for part, rows in zip(("w1", "w3"), np.split(array, 2, axis=1), strict=True):
                yield name.replace("input_linear", f"experts.{part}"), rows
            continue
        if config["model_type"].startswith("qwen3_5") and ".mlp.experts." in name:
            stem = name.rpartition(".")[0]
            parts = np.split(array, 2, axis=1) if name.endswith("gate_up_proj") else [array]
            for part, rows in zip(("gate_proj", "up_proj") if len(parts) == 2 else ("down_proj",), parts, strict=True):
                yield f"{stem}.{part}.weight", rows
            continue
        if ".linear_attn." in name:
            yield from _by_key_head(config, name, array)
            continue
        if config["model_type"] == "qwen3_vl_moe_text" and ".mlp.experts." in name:
            stem, rows = name.rpartition(".")[0], array.swapaxes(1, 2)
            parts = dict(zip(("gate", "up"), np.split(rows, 2, axis=1), strict=True)) if "gate_up" in name else {}
            for part, own in (parts or {"down": rows}).items():
                yield f"{stem}.{part}_proj.weight", own
            continue
        if ".mlp.experts.gate_up_proj" in name or ".mlp.experts.down_proj" in name:  # gpt-oss
            rows, end = (array, "bias") if name.endswith("_bias") else (array.swapaxes(1, 2), "weight")
            stem = name.rpartition(".")[0]
            if "gate_up" in name:
                yield f"{stem}.gate_proj.{end}", rows[:, ::2]
                yield f"{stem}.up_proj.{end}", rows[:, 1::2]
            else:
                yield f"{stem}.down_proj.{end}", rows
            continue
        if ".attention.query_key_value." in name and config["model_type"] == "gpt_neox":
            # for each head its query, its key, its value
            heads = array.reshape(config["num_attention_heads"], 3, -1, *array.shape[1:])
            yield name, heads.swapaxes(0, 1).reshape(array.shape)
            continue
        if "attention.wqkv" not in name:
            yield name + ".weight" * name.endswith(".sinks"), array
            continue
        groups = array.reshape(kv_heads, per + 2, -1, array.shape[1])
        for part, rows in (("q", groups[:, :per]), ("k", groups[:, per]), ("v", groups[:, per + 1])):
            own = name.replace("attention.wqkv", f"self_attn.{part}_proj")
            yield own, rows.reshape(-1, array.shape[1])


def _by_key_head(config: dict[str, Any], name: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors with Qwen3-Next's `in_proj_qkvz` as two; for each key head it has query, key, values and z."""
    if not name.endswith("in_proj_qkvz.weight"):
        yield name, array
        return
    keys, states = config["linear_num_key_heads"], config["linear_key_head_dim"]
    values = config["linear_num_value_heads"] // keys * config["linear_value_head_dim"]
    ends = [states, 2 * states, 2 * states + values]
    parts = np.split(array.reshape(keys, -1, array.shape[1]), ends, axis=1)
    *qkv, z = (part.reshape(-1, array.shape[1]) for part in parts)
    yield name.replace("qkvz", "qkv"), np.concatenate(qkv)
    yield name.replace("qkvz", "z"), z


def _tiled(config: dict[str, Any], name: str, array: np.ndarray) -> np.ndarray:
    """A tensor of Qwen3.5's delta nets with heads of values in GGUF's order: the first of each key head, and so on."""
    heads, keys = config["linear_num_value_heads"], config["linear_num_key_heads"]

    def reorder(values: np.ndarray) -> np.ndarray:
        by_key = values.reshape(keys, heads // keys, -1, *values.shape[1:])
        return by_key.swapaxes(0, 1).reshape(values.shape)

    part = name.partition(".linear_attn.")[2].removesuffix(".weight")
    if part in ("in_proj_z", "in_proj_a", "in_proj_b", "A_log", "dt_bias"):
        return reorder(array)
    if part in ("in_proj_qkv", "conv1d"):
        first = 2 * keys * config["linear_key_head_dim"]
        return np.concatenate([array[:first], reorder(array[first:])])
    return reorder(array.T).T if part == "out_proj" else array


def _delta_net(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Metadata of files with delta nets."""
    found = {to: config[own] for to, own in DELTA_NET.items()}
    found["ssm.inner_size"] = config["linear_num_value_heads"] * config["linear_value_head_dim"]
    if config["layer_types"] is None:
        found["full_attention_interval"] = config["full_attention_interval"]
    else:
        flags = np.array([kind == "linear_attention" for kind in config["layer_types"]], "?")
        found["attention.recurrent_layers"] = flags.tolist()
    if "rope_parameters" in config:
        found["rope.dimension_sections"] = [2, 1, 1, 0]
        found["rope.freq_base"] = config["rope_parameters"]["rope_theta"]
    return {f"{name}.{to}": value for to, value in found.items()}


FALCON = {
    "q_proj": ("attention_in_multiplier",),
    "k_proj": ("key_multiplier", "attention_in_multiplier"),
    "v_proj": ("attention_in_multiplier",),
    "o_proj": ("attention_out_multiplier",),
    "out_proj": ("ssm_out_multiplier",),
    "in_proj": ("ssm_in_multiplier",),
    "lm_head": ("lm_head_multiplier",),
    "embed_tokens": ("embedding_multiplier",),
}
"""The factors by which the converter multiplies Falcon-H1's matrices, in this order."""


def _multiplied(config: dict[str, Any], name: str, array: np.ndarray) -> np.ndarray:
    """A tensor of Falcon-H1 with its factors, in float32 at each step."""
    stem = name.split(".")[-2]
    for key in FALCON.get(stem, ()):
        array = array * np.float32(config.get(key, 1))
    gate, down = config.get("mlp_multipliers", (1, 1))
    array = array * np.float32({"gate_proj": gate, "down_proj": down}.get(stem, 1))
    if stem == "in_proj":
        inner = config["mamba_d_ssm"] or config["mamba_expand"] * config["hidden_size"]
        shared = config["mamba_n_groups"] * config["mamba_d_state"]
        rows = (inner, inner, shared, shared, config["mamba_n_heads"])
        array = array * np.repeat(np.array(config["ssm_multipliers"], np.float32), rows)[:, None]
    return array


def _stacked(values: Iterator[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors with the matrices of a layer's experts as one, under the name that the converter gives them."""
    stacks: dict[str, list[np.ndarray]] = {}
    for name, array in values:
        if (match := re.fullmatch(r"(.+\.experts)\.\d+(\..+)", name)) is None:
            yield name, array[0] if name.endswith("shared_expert_gate.weight") else array
        else:
            stacks.setdefault(match[1] + match[2], []).append(array)
    for name, arrays in stacks.items():
        for old, new in LFM2_EXPERTS.items():
            name = name.replace(f"feed_forward.experts.{old}", f"feed_forward.experts.{new}")
        yield name, np.stack(arrays)


def _deepseek(config: dict[str, Any], whole: bool) -> dict[str, Any]:
    """Metadata of DeepSeek's files; those that hold `kv_b_proj` as one give the widths of a head alone."""
    key, value = config["qk_nope_head_dim"] + config["qk_rope_head_dim"], config["v_head_dim"]
    found = {to: config[own] for to, own in DEEPSEEK.items() if config.get(own) is not None}
    sigmoid = config["model_type"] != "deepseek_v2"
    if whole:
        found |= {"attention.key_length": key, "attention.value_length": value}
    else:
        rank = config["kv_lora_rank"]
        found |= {"attention.key_length": rank + config["qk_rope_head_dim"], "attention.value_length": rank}
        found |= {"attention.key_length_mla": key, "attention.value_length_mla": value, "attention.head_count_kv": 1}
    found |= {"expert_gating_func": 1 + sigmoid, "expert_weights_norm": config.get("norm_topk_prob", sigmoid)}
    if config.get("rope_scaling"):
        found["rope.scaling.yarn_log_multiplier"] = 0.1 * config["rope_scaling"]["mscale_all_dim"]
    return {f"deepseek2.{to}": value for to, value in found.items()}


def _nemotron_h(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Metadata of Nemotron-H's files: KV heads and widths of nets by layer."""
    kinds = config.get("layers_block_type") or config["hybrid_override_pattern"]
    found = {to: config[own] for to, own in NEMOTRON_H.items()}
    found["ssm.inner_size"] = config["mamba_num_heads"] * config["mamba_head_dim"]
    found["attention.layer_norm_rms_epsilon"] = config["layer_norm_epsilon"]
    hidden = config["intermediate_size"]
    if name == "nemotron_h_moe":
        found |= {to: config[own] for to, own in NEMOTRON_EXPERTS.items()}
        found |= {"expert_weights_norm": True, "expert_group_count": 1, "expert_shared_count": 1}
        hidden = config["moe_intermediate_size"]
    found["feed_forward_length"] = [hidden * (kind in ("-", "E", "mlp")) for kind in kinds]
    found["attention.head_count_kv"] = [
        config["num_key_value_heads"] * (kind in ("*", "full_attention")) for kind in kinds
    ]
    return {f"{name}.{key}": value for key, value in found.items()}


def _gemma4(config: dict[str, Any]) -> dict[str, Any]:
    """Metadata of Gemma 4's files: sizes by layer."""
    layers, sharing, hidden = (config[k] for k in ("num_hidden_layers", "num_kv_shared_layers", "intermediate_size"))
    local = [kind == "sliding_attention" for kind in config["layer_types"]]
    found = {
        "attention.shared_kv_layers": sharing,
        "embedding_length_per_layer_input": config["hidden_size_per_layer_input"],
        "rope.freq_base": config["rope_parameters"]["full_attention"]["rope_theta"],
        "rope.freq_base_swa": config["rope_parameters"]["sliding_attention"]["rope_theta"],
        "rope.dimension_count_swa": config["head_dim"],
    }
    for part in ("key", "value"):
        found |= {f"attention.{part}_length": config["global_head_dim"]}
        found |= {f"attention.{part}_length_swa": config["head_dim"]}
    if config.get("use_double_wide_mlp"):
        found["feed_forward_length"] = [hidden * (1 + (i >= layers - sharing)) for i in range(layers)]
    if few := config.get("num_global_key_value_heads"):
        found["attention.head_count_kv"] = [config["num_key_value_heads"] if one else few for one in local]
    if config.get("enable_moe_block"):
        found["expert_used_count"] = config["top_k_experts"]
    return {f"gemma4.{to}": value for to, value in found.items()}


def convert(
    path: Path, config: dict[str, Any], values: dict[str, np.ndarray], name: str, together: bool, whole: bool = False
) -> Path:
    """Write the GGUF file that llama.cpp's converter would make, in F32."""
    metadata: dict[str, Any] = {"general.architecture": name}
    metadata |= {f"{name}.{key}": config[own] for key, own in COMMON.items() if config.get(own)}
    if name == "minicpm":
        metadata |= {f"{name}.{key}": value(config) for key, value in MINICPM.items()}
    metadata[f"{name}.attention.layer_norm_rms_epsilon"] = config["rms_norm_eps"]
    if name == "olmo":
        metadata["olmo.attention.layer_norm_epsilon"] = 1e-5
    for own in ("layer_norm_eps", "norm_epsilon", "norm_eps"):
        if own in config:
            metadata[f"{name}.attention.layer_norm_epsilon"] = config[own]
    for own in ("num_experts", "num_local_experts"):
        if own in config:
            metadata[f"{name}.expert_count"] = config[own]
    if "logit_scale" in config:
        metadata[f"{name}.logit_scale"] = config["logit_scale"]
    if "conv_L_cache" in config:
        metadata[f"{name}.shortconv.l_cache"] = config["conv_L_cache"]
        metadata[f"{name}.attention.head_count_kv"] = [
            config["num_key_value_heads"] * (kind != "conv") for kind in config["layer_types"]
        ]
        metadata[f"{name}.attention.layer_norm_rms_epsilon"] = config["norm_eps"]
        if name == "lfm2" and config.get("block_auto_adjust_ff_dim", True):
            unit = config["block_multiple_of"]
            metadata[f"{name}.feed_forward_length"] = -(-(2 * config["intermediate_size"] // 3) // unit) * unit
    if name == "mamba":
        metadata |= {f"{name}.{key}": config[own] for key, own in MAMBA.items()}
        metadata["mamba.ssm.time_step_rank"] = config["hidden_size"] // 16
    if name == "jamba":
        metadata |= {
            "jamba.ssm.conv_kernel": config.get("mamba_d_conv", 4),
            "jamba.ssm.inner_size": config.get("mamba_expand", 2) * config["hidden_size"],
            "jamba.ssm.state_size": config["mamba_d_state"],
            "jamba.ssm.time_step_rank": config["mamba_dt_rank"],
            "jamba.attention.head_count_kv": [
                config["num_key_value_heads"] * (i % config["attn_layer_period"] == config["attn_layer_offset"])
                for i in range(config["num_hidden_layers"])
            ],
            "jamba.expert_count": 0 if config["num_experts"] == 1 else config["num_experts"],
        }
    if name == "mamba2":
        metadata |= {f"{name}.{key}": config[own] for key, own in MAMBA2.items()}
        metadata[f"{name}.ssm.inner_size"] = int(config["expand"] * config["hidden_size"])
        metadata[f"{name}.attention.layer_norm_rms_epsilon"] = config["layer_norm_epsilon"]
    if name == "falcon-h1":  # factors are in the matrices
        metadata.pop("falcon-h1.embedding_scale", None)
    if name.startswith("nemotron_h"):
        metadata |= _nemotron_h(config, name)
    if name in ("granitehybrid", "falcon-h1"):
        metadata |= {f"{name}.{key}": config[own] for key, own in HYBRID.items()}
        inner = config.get("mamba_d_ssm") or config["mamba_expand"] * config["hidden_size"]
        metadata[f"{name}.ssm.inner_size"] = inner
    if name == "granitehybrid":
        metadata[f"{name}.attention.head_count_kv"] = [
            config["num_key_value_heads"] * (kind in ("attention", "full_attention")) for kind in config["layer_types"]
        ]
        metadata[f"{name}.rope.scaling.finetuned"] = config["position_embedding_type"] == "rope"
    if name in ("granite", "granitehybrid") and "shared_intermediate_size" in config:
        metadata[f"{name}.expert_shared_feed_forward_length"] = config["shared_intermediate_size"]
        if not config["num_local_experts"]:
            metadata[f"{name}.feed_forward_length"] = config["shared_intermediate_size"]
    if "num_dense_layers" in config:
        metadata |= {f"{name}.leading_dense_block_count": config["num_dense_layers"], f"{name}.expert_gating_func": 2}
    if name == "bailingmoe2":
        metadata |= {f"{name}.expert_group_count": config["n_group"], f"{name}.expert_gating_func": 2}
        metadata[f"{name}.expert_group_used_count"] = config["topk_group"]
    if name in ("glm4moe", "dots1", "exaone-moe", "bailingmoe2"):
        given = {to: next(config[own] for own in names if own in config) for to, names in SIGMOIDS.items()}
        metadata |= {f"{name}.{to}": value for to, value in given.items()}
    if name == "hunyuan-moe":
        metadata |= {
            f"{name}.expert_used_count": config["moe_topk"][0],
            f"{name}.expert_feed_forward_length": config["moe_intermediate_size"][0],
            f"{name}.expert_shared_feed_forward_length": config["intermediate_size"],
        }
    if name == "afmoe":
        metadata |= {f"{name}.{to}": config[own] for to, own in TRINITY.items()} | {f"{name}.expert_gating_func": 2}
    if name == "ernie4_5-moe":
        metadata |= {f"{name}.{to}": config[own] for to, own in ERNIE_EXPERTS.items()}
        metadata[f"{name}.interleave_moe_layer_step"] = 1
        shared = config["moe_num_shared_experts"] * config["moe_intermediate_size"]
        metadata[f"{name}.expert_shared_feed_forward_length"] = shared
    if name in ("qwen2vl", "qwen3vl", "qwen3vlmoe"):
        metadata |= {f"{name}.rope.dimension_sections": [4, 4, 4, 0], f"{name}.n_deepstack_layers": 3}
    if name == "minicpm3":
        metadata |= {
            "minicpm3.attention.q_lora_rank": config["q_lora_rank"],
            "minicpm3.attention.kv_lora_rank": config["kv_lora_rank"],
            "minicpm3.attention.key_length": config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
        }
    if name == "gptneox":
        metadata |= {f"{name}.use_parallel_residual": True, f"{name}.rope.freq_base": config["rotary_emb_base"]}
    delta_nets = "linear_num_key_heads" in config
    if delta_nets:
        metadata |= _delta_net(config, name)
    width = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    part = config.get("partial_rotary_factor", config.get("rotary_pct", 0.25 if delta_nets else 1))
    rotary = config.get("rotary_dim", config.get("qk_rope_head_dim"))
    metadata[f"{name}.rope.dimension_count"] = rotary or int(width * part)
    if name == "gemma4":
        metadata |= _gemma4(config) | {"gemma4.rope.dimension_count": config["global_head_dim"]}
    tensors = {}
    names = gguf.get_tensor_name_map(
        next(number for number, known in gguf.MODEL_ARCH_NAMES.items() if known == name), config["num_hidden_layers"]
    )
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for own, array in _stacked(_apart(config, values, whole)):
        stem = own.split(".")[-2]
        if (name in ("gemma", "gemma2") and array.ndim == 1) or (name == "nemotron" and own.endswith("norm.weight")):
            array = array + np.float32(1)
        if delta_nets and own.endswith("norm.weight") and not own.endswith("linear_attn.norm.weight"):
            array = array + np.float32(1)
        if name.startswith("qwen35"):
            array = _tiled(config, own, array)
        if own.endswith(("conv.conv.weight", "conv1d.weight")):
            array = array[:, 0]
        if own.endswith((".A_log", ".D")):
            array = -np.exp(array.astype(np.float64)) if own.endswith("A_log") else array
            array = array if delta_nets or name in ("mamba", "jamba") else array[:, None]
        own = own.replace("dt_bias", "dt_proj.bias")
        if own.endswith(("mixer.norm.weight", "mamba.norm.weight")):
            array = array.reshape(config.get("n_groups", config.get("mamba_n_groups")), -1)
        if name == "nemotron_h_moe" and ".mixer.experts." in own:  # as the converter names them
            own = own.replace("backbone.", "model.").replace(".mixer.", ".mlp.")
        if name == "falcon-h1" and array.ndim == 2 and own.endswith(".weight"):
            array = _multiplied(config, own, array)
        if own.endswith(".expert_bias"):
            own += ".bias"
        own = own.replace("e_score_correction_bias", "e_score_correction.bias")
        if name == "gemma4" and (end := GEMMA4_SCALES.get(own.partition(".router.")[2])):
            tensors[f"blk.{own.split('.')[2]}.{end}"] = array
            continue
        if name == "gemma4" and not own.endswith(".weight"):
            own += ".weight"
        tensors[names.get_name(own, try_suffixes=(".weight", ".bias"))] = (
            _together(array, heads[stem]) if together and stem in heads else array
        )
    if name == "gemma4":
        half = config["global_head_dim"] // 2
        pairs = int(half * config["rope_parameters"]["full_attention"]["partial_rotary_factor"])
        tensors["rope_freqs.weight"] = np.where(np.arange(half) < pairs, 1, 1e30).astype(np.float32)
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "llama3":  # as the converter: a divisor of each frequency
        waves = 2 * np.pi * config["rope_theta"] ** (np.arange(0, width, 2) / width)
        turns = scaling["original_max_position_embeddings"] / waves
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        blend = np.clip((turns - low) / (high - low), 0, 1)
        tensors["rope_freqs.weight"] = (1 / (blend + (1 - blend) / scaling["factor"])).astype(np.float32)
    elif kind == "longrope":
        if name != "minicpm3":
            original = config["original_max_position_embeddings"]
            factor = np.sqrt(1 + np.log(config["max_position_embeddings"] / original) / np.log(original))
            metadata[f"{name}.rope.scaling.original_context_length"] = original
            metadata[f"{name}.rope.scaling.attn_factor"] = float(factor)
        for length in ("long", "short"):
            tensors[f"rope_factors_{length}.weight"] = np.array(scaling[f"{length}_factor"], np.float32)
    elif kind == "yarn":
        metadata[f"{name}.rope.scaling.type"] = "yarn"
        metadata[f"{name}.rope.scaling.factor"] = scaling["factor"]
        metadata[f"{name}.rope.scaling.original_context_length"] = scaling["original_max_position_embeddings"]
        metadata[f"{name}.rope.scaling.yarn_beta_fast"] = scaling["beta_fast"]
        if name == "gpt-oss":
            metadata[f"{name}.expert_feed_forward_length"] = config["intermediate_size"]
        if "llama_4_scaling_beta" in scaling:
            metadata[f"{name}.rope.scaling.yarn_log_multiplier"] = scaling["mscale_all_dim"]
            metadata[f"{name}.attention.temperature_scale"] = scaling["llama_4_scaling_beta"]
            metadata[f"{name}.rope.freq_base"] = scaling["rope_theta"]
    elif "alpha" in scaling:
        metadata[f"{name}.rope.freq_base"] = config["rope_theta"] * scaling["alpha"] ** (width / (width - 2))
    if config.get("sliding_window") and "layer_types" in config:
        flags = np.array([kind == "sliding_attention" for kind in config["layer_types"]], "?")
        metadata[f"{name}.attention.sliding_window_pattern"] = flags.tolist()
    if name == "deepseek2":
        metadata |= _deepseek(config, whole)
    stored = {key: ("F32", array.shape, array.astype("<f4").tobytes()) for key, array in tensors.items()}
    return write_gguf(path, metadata | tokenizer_metadata(config["vocab_size"]), stored)
