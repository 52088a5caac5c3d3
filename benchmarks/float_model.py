"""A GGUF file as a Transformers model: configuration and weights from the gguf package, without intact's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from numpy.typing import NDArray

LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GEMMA = LAYER | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def _unpermute(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo the order in which llama.cpp's converter stores Llama's query and key rows."""
    width = weight.shape[0] // heads
    return weight.reshape(heads, width // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def transformers_model(path: Path) -> Any:
    """Build a causal language model in float32 with eager attention."""
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.ggml.")}
    architecture = fields["general.architecture"]

    def get(key: str, default: Any = None) -> Any:
        value = fields.get(f"{architecture}.{key}", default)
        if value is None:
            raise SystemExit(f"{path}: no {architecture}.{key}")
        return value

    tensors = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    heads, width = get("attention.head_count"), get("embedding_length")
    common = {
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("attention.head_count_kv"),
        "head_dim": get("attention.key_length", width // heads),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in tensors,
        "attn_implementation": "eager",
    }
    base = get("rope.freq_base")
    if architecture == "gemma3":
        config: Any = transformers.Gemma3TextConfig(
            **common,
            sliding_window=get("attention.sliding_window"),
            query_pre_attn_scalar=common["head_dim"],
            rope_parameters={
                "full_attention": {"rope_type": "default", "rope_theta": base},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        )
        kind: Any = transformers.Gemma3ForCausalLM
    else:
        kinds = {
            "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
            "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
            "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        }
        make, kind = kinds[architecture]
        config = make(**common, rope_parameters={"rope_type": "default", "rope_theta": base})
    state = {}
    for name, value in tensors.items():
        parts = name.split(".")
        if parts[0] == "blk":
            stem = (GEMMA if architecture == "gemma3" else LAYER)[parts[2]]
            target = f"model.layers.{parts[1]}.{stem}.{parts[3]}"
        else:
            stem = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[parts[0]]
            target = f"{stem}.{parts[1]}"
        if architecture == "llama" and parts[2:3] in (["attn_q"], ["attn_k"]):
            value = _unpermute(value, heads if parts[2] == "attn_q" else common["num_key_value_heads"])
        if architecture == "gemma3" and "norm" in target:
            value = value - 1  # the converter adds it
        state[target] = torch.from_numpy(np.array(value, np.float32))
    if common["tie_word_embeddings"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    with torch.device("meta"):
        model = kind(config)
    model = model.to_empty(device="cpu").float()
    model.tie_weights()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise SystemExit(f"{path}: missing {missing}, unexpected {unexpected}")
    _restore_buffers(model, config)
    return model.eval()


def _restore_buffers(model: Any, config: Any) -> None:
    """Recompute buffers that are not in the state dict (rotary frequencies, embedding scale) after the meta device."""
    fresh = type(model.model.rotary_emb)(config)
    model.model.rotary_emb = fresh
    if hasattr(model.model.embed_tokens, "embed_scale"):
        model.model.embed_tokens.embed_scale = torch.tensor(config.hidden_size**0.5)
