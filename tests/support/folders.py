"""Tiny random models as folders of safetensors, one for each thing that architectures do differently.

Like those of `support.tiny` they are the same bytes everywhere, so that what another program computed of them can be
kept.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intact.checkpoints.formats import Checkpoint
from intact.measure.conformance.synthetic import random_floats
from intact.models import Decoder, find_architecture
from support.tiny import entry_of, fused_shapes, tensor_shapes, tokenizer_metadata
from support.variants.encoders import CLS, SEP
from support.variants.form import VOCABULARY, Variant

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
    "mamba3": (8.0, 0.3),
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
            if stem.endswith((".ssm_b", ".ssm_c")):  # one for each head, and of one input and output
                out[own] = out[own].reshape(-1, 1, config["ssm_cfg"]["d_state"]) + np.float32(1)
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
    if "model.lower_bounds" in out:  # of all layers, before their softmax
        shape = (config["num_hidden_layers"], config["hidden_size"])
        out["model.lower_bounds"] = random_floats(f"{seed}|model.lower_bounds", shape, 1.0)
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
