"""Tiny random models with a head that predicts a further token, as GGUF files and as folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intact.checkpoints.formats.gguf import read_gguf
from intact.engine.draft.prediction_head import PredictionHead
from intact.executors.base import Executor
from intact.library import Model
from intact.measure.conformance.synthetic import random_floats
from intact.models import ARCHITECTURES
from intact.models.aspects.step import SequenceChunk
from support.folders import stored, tensor_values, write_folder
from support.gguf_writer import write_gguf
from support.tiny import write_tiny
from support.variants import VARIANTS

_PARTS = {"enorm": "pre_fc_norm_embedding", "hnorm": "pre_fc_norm_hidden"}


def write_headed_tiny(path: Path, architecture: str, seed: int = 0, **options: Any) -> Path:
    """Write the model of `support.tiny` with a head, whose layer is another model's."""
    own, tensors = _contents(write_tiny(path, architecture, seed=seed, **options))
    _, others = _contents(write_tiny(path.with_suffix(".other"), architecture, seed=seed + 100, **options))
    gguf = ARCHITECTURES[architecture].gguf
    layers, width = own[f"{gguf}.block_count"], own[f"{gguf}.embedding_length"]
    attended = max(
        (name.split(".")[1] for name in others if name.endswith((".attn_q.weight", ".attn_q_b.weight"))), key=int
    )
    old, new = f"blk.{attended}.", f"blk.{layers}."
    head = {name.replace(old, new): tensor for name, tensor in others.items() if name.startswith(old)}
    head[new + "nextn.shared_head_norm.weight"] = others["output_norm.weight"]
    for part in _PARTS:
        values = random_floats(f"{seed}|{part}", (width,), 0.2) + np.float32(1)
        head[f"{new}nextn.{part}.weight"] = ("F32", (width,), values.astype("<f4").tobytes())
    joined = random_floats(f"{seed}|joined", (width, 2 * width), (2 * width) ** -0.5)
    head[new + "nextn.eh_proj.weight"] = ("F32", joined.shape, joined.astype("<f4").tobytes())
    counts = {f"{gguf}.block_count": layers + 1, f"{gguf}.nextn_predict_layers": 1}
    return write_gguf(path, {**own, **counts}, tensors | head)


def _contents(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The metadata of a GGUF file, and its tensors as `write_gguf` takes them."""
    metadata, tensors = read_gguf(path)
    return metadata, {name: (one.kind, one.shape, one.data.tobytes()) for name, one in tensors.items()}


def head_values(name: str) -> dict[str, np.ndarray]:
    """Random weights of the head of a model of `support.variants`, float32, under their names in safetensors."""
    config = VARIANTS[name].config
    others = tensor_values(config, name + "|head")
    attended = next(key.split(".")[2] for key in others if key.endswith("self_attn.q_proj.weight"))
    layer, width = f"model.layers.{attended}.", config["hidden_size"]
    values = {key.replace(layer, "mtp.layers.0."): array for key, array in others.items() if key.startswith(layer)}
    values["mtp.norm.weight"] = others["model.norm.weight"]
    for part in _PARTS.values():
        values[f"mtp.{part}.weight"] = random_floats(f"{name}|{part}", (width,), 0.2)
    values["mtp.fc.weight"] = random_floats(f"{name}|fc", (width, 2 * width), (2 * width) ** -0.5)
    return values


def write_headed_folder(folder: Path, name: str, changes: Mapping[str, Any] | None = None) -> Path:
    """Write a model of `support.variants` with its head; `changes` are arrays that replace tensors."""
    return write_folder(folder, VARIANTS[name], name, head_values(name) | dict(changes or {}))


def write_folder_with_layer(folder: Path, name: str, count: int = 1) -> tuple[Path, str]:
    """Write a model of `support.variants` with layers behind its own that predict; return the first one's name too."""
    config = VARIANTS[name].config
    own, width = config["num_hidden_layers"], config["hidden_size"]
    more = tensor_values({**config, "num_hidden_layers": own + count, "mlp_layer_types": None}, name)
    values = {key: array for key, array in more.items() if key.startswith("model.layers.") and _layer(key) >= own}
    for layer in (f"model.layers.{own + i}" for i in range(count)):
        values[f"{layer}.eh_proj.weight"] = random_floats(f"{layer}|joined", (width, 2 * width), (2 * width) ** -0.5)
        values[f"{layer}.embed_tokens.weight"] = more["model.embed_tokens.weight"]
        for part in ("enorm", "hnorm", "shared_head.norm"):
            values[f"{layer}.{part}.weight"] = random_floats(f"{layer}|{part}", (width,), 0.2) + np.float32(1)
    variant = VARIANTS[name]._replace(config={**config, "num_nextn_predict_layers": count})
    return write_folder(folder / "layer", variant, name, values), f"model.layers.{own}"


def _layer(name: str) -> int:
    return int(name.split(".")[2])


def write_certain_folder(folder: Path, name: str, influence: float) -> Path:
    """Write a model of which its head knows the next token but one, the better the less its layers change a row.

    Parameters
    ----------
    influence : float
        What the results of its layers are multiplied by. The head's are 0: it has the next token's embedding alone.
    """
    values = tensor_values(VARIANTS[name].config, name) | head_values(name)
    ends = ("o_proj.weight", "out_proj.weight", "down_proj.weight", "experts.down_proj")
    for key, array in values.items():
        if key.endswith(ends):
            values[key] = array * np.float32(0 if key.startswith("mtp.") else influence)
    width = len(values["mtp.fc.weight"])
    values["mtp.fc.weight"] = np.eye(width, 2 * width, dtype=np.float32)
    values["mtp.pre_fc_norm_embedding.weight"] = np.zeros(width, np.float32)  # a gain of 1
    values["mtp.norm.weight"] = values["model.norm.weight"]
    return write_folder(folder, VARIANTS[name], name, values)


_CANONICAL = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}
_OTHERS = {
    "mtp.fc": "blk.0.nextn.eh_proj",
    "mtp.pre_fc_norm_embedding": "blk.0.nextn.enorm",
    "mtp.pre_fc_norm_hidden": "blk.0.nextn.hnorm",
    "mtp.norm": "blk.0.nextn.shared_head_norm",
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
}


def write_head_gguf(path: Path, name: str) -> Path:
    """Write the head of `write_headed_folder`'s model alone as a GGUF file in F32, without a model's layers."""
    config, kind = VARIANTS[name].config, VARIANTS[name].config["model_type"].removesuffix("_text")
    architecture = {"qwen3_5": "qwen35", "qwen3_5_moe": "qwen35moe", "qwen3_next": "qwen3next"}[kind]
    found: dict[str, np.ndarray] = {}
    experts: dict[str, dict[int, np.ndarray]] = {}
    for key, array in (tensor_values(config, name) | head_values(name)).items():
        stem, layer = key.removesuffix(".weight").removesuffix(".bias"), "mtp.layers.0."
        part, end = stem.removeprefix(layer), "bias" if key.endswith(".bias") else "weight"
        if stem in _OTHERS:
            found[f"{_OTHERS[stem]}.{end}"] = array + ("norm" in stem)
        elif stem.startswith(layer + "mlp.experts."):
            number, _, which = part.removeprefix("mlp.experts.").rpartition(".")
            if number:
                experts.setdefault(which.removesuffix("_proj"), {})[int(number)] = array
            elif which == "gate_up_proj":
                for half, rows in zip(("gate", "up"), np.split(array, 2, axis=1), strict=True):
                    experts[half] = dict(enumerate(rows))
            else:
                experts["down"] = dict(enumerate(array))
        elif stem.startswith(layer):
            found[f"blk.0.{_CANONICAL[part]}.{end}"] = array + ("norm" in stem)
    for which, numbered in experts.items():
        found[f"blk.0.ffn_{which}_exps.weight"] = np.stack([numbered[i] for i in range(len(numbered))])
    rope = config.get("rope_parameters", config)
    metadata = {
        "general.architecture": architecture,
        "block_count": 1,
        "nextn_predict_layers": 1,
        "embedding_length": config["hidden_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": config["head_dim"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.dimension_count": int(config["head_dim"] * config.get("partial_rotary_factor", 0.25)),
        "rope.freq_base": rope["rope_theta"],
        "expert_used_count": config.get("num_experts_per_tok", 0),
    }
    metadata = {key if "general" in key else f"{architecture}.{key}": value for key, value in metadata.items()}
    tensors = {key: ("F32", array.shape, stored(array, "F32")) for key, array in found.items()}
    return write_gguf(path, metadata, tensors)


def predicted(model: Model, tokens: Sequence[int], first: int = 0) -> np.ndarray:
    """The logits of the prediction head that a model drafts with, behind each token of a text but the first ones.

    Parameters
    ----------
    first : int
        The position of the first hidden state that it has.
    """
    assert model.engine.drafting is not None
    head = model.engine.drafting.drafter
    assert isinstance(head, PredictionHead)
    head.given.rows = [row.tobytes() for row in run_whole(model.executor, tokens)[1][first:-1]]
    return run_whole(head.executor, tokens[first + 1 :])[0]


def run_whole(executor: Executor, tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits as floats, and the inputs of the head, behind each token of a text; pages from 0 on are written."""
    pages = -(-len(tokens) // executor.page_size)
    executor.reserve_pages(pages)
    rows = np.arange(len(tokens))
    chunk = SequenceChunk(0, np.array(tokens, np.int32), np.arange(pages, dtype=np.int32))
    return executor.step_float([chunk], rows).copy(), executor.head_inputs(rows)
