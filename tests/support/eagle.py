"""Tiny EAGLE-3 heads: their folders, and a float64 program of their formulas."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intact.checkpoints.formats import open_checkpoint
from intact.engine.draft.eagle3 import Eagle, WatchedExecutor
from intact.engine.drafting import Drafting
from intact.library import Model
from intact.measure.conformance.synthetic import random_floats
from intact.models.aspects.step import SequenceChunk
from support.folders import stored, tensor_values, write_folder, write_safetensors
from support.tally import Eager
from support.variants import VARIANTS

WIDTH, HEADS, KV_HEADS, HIDDEN, VOCABULARY, DRAFTED = 64, 4, 2, 96, 301, 190
HEAD_WIDTH = WIDTH // HEADS
CONFIG = {
    "architectures": ["LlamaForCausalLMEagle3"],
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "draft_vocab_size": DRAFTED,
    "hidden_size": WIDTH,
    "intermediate_size": HIDDEN,
    "num_hidden_layers": 1,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
LAYERS = 6
"""Of the models whose heads these are: their rows enter layers 2, 3 and 3, or those that a config names."""


def eagle_values(width: int = WIDTH, kv_heads: int = KV_HEADS) -> dict[str, np.ndarray]:
    """Random tensors of a head for a model of this width, float32, under the names of the authors' files."""
    inner, keys = HEADS * HEAD_WIDTH, kv_heads * HEAD_WIDTH
    shapes = {
        "fc": (WIDTH, 3 * width),
        "midlayer.self_attn.q_proj": (inner, 2 * WIDTH),
        "midlayer.self_attn.k_proj": (keys, 2 * WIDTH),
        "midlayer.self_attn.v_proj": (keys, 2 * WIDTH),
        "midlayer.self_attn.o_proj": (WIDTH, inner),
        "midlayer.mlp.gate_proj": (HIDDEN, WIDTH),
        "midlayer.mlp.up_proj": (HIDDEN, WIDTH),
        "midlayer.mlp.down_proj": (WIDTH, HIDDEN),
        "lm_head": (DRAFTED, WIDTH),
    }
    found = {f"{name}.weight": random_floats(f"eagle|{name}", s, s[1] ** -0.5) for name, s in shapes.items()}
    for name in ("midlayer.input_layernorm", "midlayer.hidden_norm", "midlayer.post_attention_layernorm", "norm"):
        found[f"{name}.weight"] = random_floats(f"eagle|{name}", (WIDTH,), 0.2) + np.float32(1)
    return found


def drafted_tokens(count: int = DRAFTED) -> np.ndarray:
    """The model's tokens of the head's logits."""
    return np.sort(np.argsort([(97 * i * i + 31 * i) % 1009 for i in range(VOCABULARY)], kind="stable")[:count])


def write_eagle(
    folder: Path,
    values: Mapping[str, np.ndarray],
    config: Mapping[str, Any] = CONFIG,
    differences: np.ndarray | None = None,
) -> Path:
    """Write the folder of a head; `differences` are `d2t`, by default those of `drafted_tokens`."""
    folder.mkdir(parents=True, exist_ok=True)
    kv_heads = len(values.get("midlayer.self_attn.k_proj.weight", ())) // HEAD_WIDTH
    config = {**config, "num_key_value_heads": kv_heads or KV_HEADS}
    count = min(VOCABULARY, config.get("draft_vocab_size", VOCABULARY))
    d2t = drafted_tokens(count) - np.arange(count) if differences is None else differences
    kept = np.isin(np.arange(VOCABULARY), drafted_tokens(count))
    tensors = {name: ("F32", array.shape, stored(array, "F32")) for name, array in values.items()}
    if count < VOCABULARY:
        tensors["d2t"] = ("I64", d2t.shape, d2t.astype("<i8").tobytes())
        tensors["t2d"] = ("BOOL", kept.shape, kept.astype(np.uint8).tobytes())
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_model(folder: Path, influence: float = 1.0) -> Path:
    """Write the folder of a Llama of some layers, whose results are multiplied by `influence`."""
    variant = VARIANTS["llama"]
    config = {**variant.config, "num_hidden_layers": LAYERS, "max_position_embeddings": 256, "rope_scaling": None}
    values = tensor_values(config, "llama")
    for name in values:
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            values[name] = values[name] * np.float32(influence)
    return write_folder(folder, variant._replace(config=config), "llama", values)


def certain_values(model: Path) -> dict[str, np.ndarray]:
    """A head that reads the next token alone, for a model whose layers change little: it knows what comes then.

    Each row attends to itself, as queries and keys are large and alike where tokens are, and its value is the token's
    embedding behind the norm.
    """
    values = eagle_values(kv_heads=HEADS)
    with open_checkpoint(model) as checkpoint:
        own = {
            name: np.array(tensor.data.view("<f4").reshape(tensor.shape)) for name, tensor in checkpoint.tensors.items()
        }
    eye = np.eye(WIDTH, 2 * WIDTH, dtype=np.float32)
    for part, size in (("q", 9), ("k", 9), ("v", 1)):
        values[f"midlayer.self_attn.{part}_proj.weight"] = size * eye
    values["midlayer.self_attn.o_proj.weight"] = np.eye(WIDTH, dtype=np.float32)
    for name in ("fc.weight", "midlayer.mlp.down_proj.weight"):
        values[name] *= np.float32(0)
    values["midlayer.input_layernorm.weight"] = np.ones(WIDTH, np.float32)
    values["norm.weight"] = own["model.norm.weight"]
    head = own.get("lm_head.weight", own["model.embed_tokens.weight"])
    values["lm_head.weight"] = head[drafted_tokens()]
    return values


def eagle_of(model: Model) -> Eagle:
    """The head that a model drafts with, alone or beside others."""
    assert model.engine.drafting is not None
    drafter = model.engine.drafting.drafter
    found = [one for one in getattr(drafter, "members", [drafter]) if isinstance(one, Eagle)]
    return found[0]


def drafting_model(model: Model) -> Model:
    """The model, drafting as much as it may by its head alone."""
    model.engine.drafting = Drafting(eagle_of(model), Eager())  # type: ignore[arg-type]
    return model


def features(model: Model, tokens: Sequence[int]) -> np.ndarray:
    """The rows of a model's layers that its head reads, behind each token of a text."""
    executor = model.executor
    assert isinstance(executor, WatchedExecutor)
    pages = -(-len(tokens) // executor.page_size)
    executor.reserve_pages(pages)
    rows = np.arange(len(tokens))
    executor.step([SequenceChunk(0, np.array(tokens, np.int32), np.arange(pages, dtype=np.int32))], rows)
    return executor.layer_inputs(rows)


def predicted(
    values: Mapping[str, np.ndarray],
    embedded: np.ndarray,
    rows: np.ndarray,
    *,
    norms_entered: bool = False,
) -> np.ndarray:
    """The logits of a head by its formulas, in float64.

    Parameters
    ----------
    embedded, rows
        Embeddings of the tokens, and the model's rows behind those before them.
    """
    w = {name.removesuffix(".weight"): array.astype(np.float64) for name, array in values.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + CONFIG["rms_norm_eps"]) * w[name]

    x = rows.astype(np.float64) @ w["fc"].T
    entered = norm(x, "midlayer.hidden_norm")
    joined = np.concatenate([norm(embedded, "midlayer.input_layernorm"), entered], axis=1)
    x = entered if norms_entered else x
    count, half = len(x), HEAD_WIDTH // 2
    turns = np.arange(count)[:, None] * CONFIG["rope_theta"] ** (-np.arange(half) / half)
    cosine, sine = np.cos(turns)[:, None], np.sin(turns)[:, None]

    def heads(part: str, rotated: bool) -> np.ndarray:
        y = (joined @ w[f"midlayer.self_attn.{part}_proj"].T).reshape(count, -1, HEAD_WIDTH)
        if rotated:
            a, b = y[..., :half], y[..., half:]
            y = np.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)
        return np.repeat(y, HEADS // y.shape[1], axis=1)

    q, k, v = heads("q", True), heads("k", True), heads("v", False)
    scores = np.einsum("ihd,jhd->hij", q, k) / HEAD_WIDTH**0.5
    scores = np.where(np.tri(count, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    x = x + np.einsum("hij,jhd->ihd", weights, v).reshape(count, -1) @ w["midlayer.self_attn.o_proj"].T
    y = norm(x, "midlayer.post_attention_layernorm")
    gate = y @ w["midlayer.mlp.gate_proj"].T
    inner = gate / (1 + np.exp(-gate)) * (y @ w["midlayer.mlp.up_proj"].T)
    return norm(x + inner @ w["midlayer.mlp.down_proj"].T, "norm") @ w["lm_head"].T
