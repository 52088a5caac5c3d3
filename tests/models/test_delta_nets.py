"""Models with gated delta nets: which layers are which, the forms that files have, and files that are refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor, open_checkpoint
from intact.models import build_program, split_matrices
from intact.models.layers import segments
from intact.models.ops import Attend, GatedDelta
from intact.quantizing.pipeline import quantize
from intact.receipts.identity import measure
from support.folders import tensor_values, write_folder, write_safetensors
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.form import TOKENS

NAMES = ("qwen3.5", "qwen3.5-tied", "qwen3.5-moe", "qwen3-next")
ARCHITECTURES = ("qwen35", "qwen35moe", "qwen3next")


def folder_of(path: Path, name: str, changes: Mapping[str, Any] | None = None) -> Path:
    """A folder whose config.json was changed after its tensors were made."""
    folder = write_folder(path, VARIANTS[name], name)
    config = dict(VARIANTS[name].config) | dict(changes or {})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def root(path: Path) -> bytes:
    with open_checkpoint(path) as checkpoint:
        return measure(build_program(checkpoint)).root


def changed(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Tensor | None]) -> bytes:
    """The root of a file with other metadata and tensors; None leaves one out."""
    with open_checkpoint(path) as checkpoint:
        kept = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in tensors}
        kept |= {name: tensor for name, tensor in tensors.items() if tensor is not None}
        return measure(
            build_program(Checkpoint(checkpoint.path, checkpoint.format, {**checkpoint.metadata, **metadata}, kept))
        ).root


def floats(name: str, array: np.ndarray) -> Tensor:
    return Tensor(name, "F32", array.shape, np.ascontiguousarray(array, "<f4").view(np.uint8).reshape(-1))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("qwen3.5", {"attn_output_gate": True, "partial_rotary_factor": 0.25}),
        ("qwen3.5", {"full_attention_interval": 7}),
        ("qwen3.5", {"rope_theta": 5.0}),  # the one in `rope_parameters` counts
        ("qwen3.5-tied", {"layer_types": ["linear_attention", "full_attention"] * 2, "full_attention_interval": 9}),
        ("qwen3.5-moe", {"norm_topk_prob": True, "intermediate_size": None}),
        ("qwen3-next", {"norm_topk_prob": None}),
    ],
)
def test_spellings_of_one_configuration_are_one_model(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    assert root(folder_of(tmp_path / "same", name, changes)) == root(folder_of(tmp_path / "own", name))


@pytest.mark.parametrize(
    ("name", "layers"), [("qwen3.5", "ddad"), ("qwen3.5-tied", "dada"), ("qwen3.5-moe", "ddad"), ("qwen3-next", "dad")]
)
def test_each_layer_has_attention_or_a_delta_net(tmp_path: Path, name: str, layers: str) -> None:
    with open_checkpoint(folder_of(tmp_path, name)) as checkpoint:
        program = build_program(checkpoint)
    kinds = [{type(op) for op in part} & {Attend, GatedDelta} for part in segments(program).layers]
    assert kinds == [{"d": {GatedDelta}, "a": {Attend}}[letter] for letter in layers]
    assert program.layers == layers.count("a")
    assert [op.layer for op in program.recurrent()] == list(range(layers.count("d")))


@pytest.mark.parametrize("name", ["qwen3.5", "qwen3.5-moe"])
def test_the_text_part_of_a_model_with_pictures_is_that_model(tmp_path: Path, name: str) -> None:
    folder, variant = folder_of(tmp_path / "own", name), VARIANTS[name]
    own = root(folder)
    config = {
        "architectures": [variant.config["architectures"][0].replace("CausalLM", "ConditionalGeneration")],
        "text_config": dict(variant.config),
        "vision_config": {"depth": 2},
    }
    values = tensor_values(variant.config, name)
    tensors = {key.replace("model.", "model.language_model.", 1): array for key, array in values.items()}
    for other in ("mtp.fc.weight", "mtp.layers.0.mlp.gate_proj.weight", "model.visual.blocks.0.attn.qkv.weight"):
        tensors[other] = np.ones((2, 2), np.float32)
    (folder / "config.json").write_text(json.dumps(config))
    stored = {"F32": "<f4", "F16": "<f2"}[variant.kind]
    write_safetensors(
        folder / "model.safetensors",
        {key: (variant.kind, array.shape, array.astype(stored).tobytes()) for key, array in tensors.items()},
    )
    assert root(folder) == own


def test_experts_may_be_tensors_of_their_own(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "qwen3.5-moe")
    own = root(folder)
    with open_checkpoint(folder) as checkpoint:
        split = split_matrices(checkpoint)
        assert "model.layers.3.mlp.experts.5.up_proj.weight" in split.tensors
        assert not any("gate_up" in name for name in split.tensors)
        assert measure(build_program(split)).root == own


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_list_of_layers_has_those_that_predict_further_tokens_too(tmp_path: Path, architecture: str) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", architecture)
    counts = {f"{architecture}.block_count": 5, f"{architecture}.nextn_predict_layers": 1}
    flags = {f"{architecture}.attention.recurrent_layers": [True, True, False, True, False]}
    assert changed(path, counts | flags, {}) == root(path)


def test_a_gguf_file_may_list_the_layers_with_delta_nets(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "qwen35")
    listed = {"qwen35.attention.recurrent_layers": np.array([True, True, False, True])}
    assert changed(path, listed | {"qwen35.full_attention_interval": 2}, {}) == root(path)


def test_older_files_of_qwen3_next_are_the_same_model(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "qwen3next", ["F32"])
    keys, states, values = 2, 16, 48  # of a key head: a query and a key of 16, two values of 24
    older: dict[str, Tensor | None] = {}
    with open_checkpoint(path) as checkpoint:
        for i in (0, 1, 3):
            names = [f"blk.{i}.attn_{part}.weight" for part in ("qkv", "gate")]
            qkv, z = (checkpoint.tensors[name].data.view("<f4").reshape(-1, 96) for name in names)
            q, k, v = np.split(qkv, [keys * states, 2 * keys * states])
            heads = [(q, states), (k, states), (v, values), (z, values)]
            rows = np.concatenate([part.reshape(keys, rows, 96) for part, rows in heads], axis=1)
            older[f"blk.{i}.ssm_in.weight"] = floats(f"blk.{i}.ssm_in.weight", rows.reshape(-1, 96))
            older |= dict.fromkeys(names)
    assert changed(path, {}, older) == root(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.native
def test_a_text_in_chunks_over_several_blocks_has_the_bits_of_the_whole(tmp_path: Path, name: str) -> None:
    config = {**VARIANTS[name].config, "max_position_embeddings": 512}
    folder = write_folder(tmp_path, VARIANTS[name]._replace(config=config), name)
    tokens = [(37 * i * i + 11 * i + 5) % 301 for i in range(150)]
    whole = intact.load(folder).logits(tokens, raw=True)[0]
    for chunk in (1, 37):
        assert np.array_equal(intact.load(folder, chunk=chunk, page_size=16).logits(tokens, raw=True)[0], whole)


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        (
            "qwen3.5",
            {"layer_types": ["linear_attention"] * 3},
            "linear_attention or full_attention for each of 4 layers",
        ),
        ("qwen3.5", {"layer_types": ["mamba"] * 4}, "layer_types must be a list"),
        ("qwen3.5", {"attn_output_gate": False}, "attn_output_gate is False"),
        ("qwen3.5", {"linear_num_key_heads": 3}, "linear_num_key_heads must be a divisor of the 4 heads of values"),
        ("qwen3.5", {"linear_key_head_dim": 257}, "linear_key_head_dim must be an integer from 1 to 256"),
        ("qwen3.5", {"linear_value_head_dim": 24}, r"in_proj_qkv\.weight has shape \(192, 64\), expected \(160, 64\)"),
        ("qwen3.5", {"linear_num_value_heads": 1026}, "all values of a delta net of 32832 exceeds the proven bound"),
        ("qwen3.5-moe", {"norm_topk_prob": False}, "norm_topk_prob is False"),
        ("qwen3-next", {"linear_num_value_heads": 2}, r"in_proj_qkvz\.weight has shape .* expected 112 rows for each"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(
    tmp_path: Path, name: str, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ModelError, match=problem):
        root(folder_of(tmp_path, name, changes))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ssm.inner_size": 98}, "a multiple of the 4 heads"),
        ({"ssm.group_count": 3}, "ssm.group_count must be a divisor of the 4 heads of values"),
        ({"nextn_predict_layers": 4}, "nextn_predict_layers must be an integer from 0 to 3"),
        ({"attention.recurrent_layers": [True] * 3}, "has 3 entries, expected 4"),
        ({"attention.recurrent_layers": [2, 0, 0, 0]}, "true or false for each layer"),
        ({"full_attention_interval": 2}, r"tensor blk\.1\.attn_q\.weight is missing"),
    ],
)
def test_gguf_files_that_would_be_computed_wrongly_are_refused(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "qwen35")
    with pytest.raises(ModelError, match=problem):
        changed(path, {f"qwen35.{key}": value for key, value in changes.items()}, {})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.native
def test_a_quantised_folder_is_near_its_source(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path / "folder", name)
    quantize(folder, tmp_path / "eight", "int8-32")
    whole, eight = (intact.load(tmp_path / one, "fp32").logits(TOKENS) for one in ("folder", "eight"))
    assert 0 < np.abs(whole - eight).max() < 0.1 * np.ptp(whole)
