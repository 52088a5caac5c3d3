"""Hybrids of attention and state spaces: which layers are which, Falcon-H1's factors, and files that are refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor, open_checkpoint
from intact.models import build_program
from intact.models.layers import segments
from intact.models.ops import Attend, Rope, Scan
from intact.quantizing.pipeline import quantize
from intact.receipts.identity import measure
from support.folders import write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.form import TOKENS

HYBRIDS = ("granite4-h", "granite4-h-dense", "bamba", "falcon-h1", "falcon-h1-norm", "nemotron-h", "nemotron-h-moe")


def folder_of(path: Path, name: str, changes: dict[str, Any] | None = None) -> Path:
    """A folder whose config.json was changed after its tensors were made."""
    folder = write_folder(path, VARIANTS[name], name)
    config = dict(VARIANTS[name].config) | (changes or {})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def root(path: Path) -> bytes:
    with open_checkpoint(path) as checkpoint:
        return measure(build_program(checkpoint)).root


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("granite4-h", "layer_types", ["linear_attention", "full_attention", "linear_attention"]),
        ("granite4-h", "position_embedding_type", None),
        ("granite4-h", "mamba_d_head", "auto"),
        ("granite4-h", "time_step_limit", [0.0, {"__float__": "Infinity"}]),
        ("granite4-h", "time_step_limit", [0.0, math.inf]),  # which Transformers 4 writes as Python does
        ("bamba", "attn_rotary_emb", None),
        ("bamba", "partial_rotary_factor", 0.5),
        ("falcon-h1", "layer_types", ["hybrid", "hybrid"]),
        ("falcon-h1-norm", "mamba_d_ssm", 128),
        ("falcon-h1-norm", "mlp_multipliers", None),
        ("falcon-h1-norm", "mlp_multipliers", [1, 1]),
        ("nemotron-h", "layers_block_type", ["mamba", "mlp", "attention", "linear_attention", "mlp"]),
        ("nemotron-h", "num_hidden_layers", None),
        ("nemotron-h", "attention_head_dim", 24),
        ("nemotron-h", "rope_theta", None),
        ("nemotron-h-biases", "hybrid_override_pattern", "MMMM"),
        ("nemotron-h-moe", "norm_topk_prob", True),
    ],
)
def test_spellings_of_one_configuration_are_one_model(tmp_path: Path, name: str, key: str, value: object) -> None:
    same = folder_of(tmp_path / "same", name, {key: value})
    assert root(same) == root(folder_of(tmp_path / "own", name))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        *(("granite4-h", "sas"), ("granite4-h-dense", "sas"), ("granite4", "aa"), ("bamba", "asa")),
        ("falcon-h1", "bb"),
        *(("nemotron-h", "sas"), ("nemotron-h-biases", "nas"), ("nemotron-h-moe", "sas")),
    ],
)
def test_each_layer_has_attention_a_state_space_or_both(tmp_path: Path, name: str, layers: str) -> None:
    with open_checkpoint(folder_of(tmp_path, name)) as checkpoint:
        program = build_program(checkpoint)
    kinds = [{type(op) for op in part} & {Attend, Scan} for part in segments(program).layers]
    assert kinds == [{"s": {Scan}, "a": {Attend}, "b": {Attend, Scan}, "n": set()}[letter] for letter in layers]
    assert program.layers == layers.count("a") + layers.count("b")
    assert len(program.recurrent()) == layers.count("s") + layers.count("b")
    rotates = name != "granite4-h" and not name.startswith("nemotron-h")
    assert any(isinstance(op, Rope) for op in program.ops) == rotates == bool(program.rotations)


def test_a_model_of_state_spaces_alone_has_no_attention(tmp_path: Path) -> None:
    variant = VARIANTS["granite4-h-dense"]
    config = {**variant.config, "layer_types": None}
    folder = write_folder(tmp_path, variant._replace(config=config), "alone")
    model = intact.load(folder)
    assert model.program.layers == 0
    assert len(model.program.recurrent()) == 3
    reference = intact.load(folder, executor="reference")
    assert np.array_equal(*(one.logits(TOKENS, raw=True)[0] for one in (model, reference)))


@pytest.mark.parametrize("name", HYBRIDS)
@pytest.mark.native
def test_a_text_in_chunks_over_several_blocks_has_the_bits_of_the_whole(tmp_path: Path, name: str) -> None:
    config = {**VARIANTS[name].config, "max_position_embeddings": 512}
    folder = write_folder(tmp_path, VARIANTS[name]._replace(config=config), name)
    tokens = [(37 * i * i + 11 * i + 5) % 301 for i in range(150)]
    whole = intact.load(folder).logits(tokens, raw=True)[0]
    for chunk in (1, 37):
        assert np.array_equal(intact.load(folder, chunk=chunk, page_size=16).logits(tokens, raw=True)[0], whole)


@pytest.mark.parametrize(
    ("name", "key", "value", "problem"),
    [
        (
            "granite4-h",
            "layer_types",
            ["mamba"] * 2,
            "mamba or linear_attention or attention or full_attention for each of 3 layers",
        ),
        ("granite4-h", "layer_types", ["mamba", "attention", "conv"], "layer_types must be a list"),
        ("granite4-h", "position_embedding_type", "alibi", "must be rope or nope"),
        ("granite4-h", "time_step_limit", [0.0, math.nan], "other limits of steps are not supported"),
        ("granite4-h", "rms_norm_eps", math.inf, "rms_norm_eps must be a positive number"),
        ("granite4-h", "time_step_limit", [0.0, 0.1], "other limits of steps are not supported"),
        ("granite4-h", "mamba_n_groups", 3, "mamba_n_groups must be a divisor of the 8 heads"),
        ("granite4-h", "mamba_proj_bias", True, "mamba_proj_bias is True"),
        ("granite4-h", "mamba_n_heads", 7, "mamba_n_heads must be 8, for 128 channels in heads of 16"),
        ("granite4-h", "mamba_d_state", 257, "mamba_d_state must be an integer from 1 to 256"),
        ("bamba", "attn_layer_indices", [3], "attn_layer_indices must be a list of layer numbers below 3"),
        ("bamba", "attn_rotary_emb", 16, "attn_rotary_emb must be 8, half of the head width"),
        ("falcon-h1", "mlp_multipliers", [1.0], "mlp_multipliers must be a list of 2 numbers"),
        ("falcon-h1", "ssm_multipliers", [1, 1, 1, 1, 0], "ssm_multipliers must be a list of 5 numbers"),
        ("falcon-h1", "key_multiplier", 0, "key_multiplier must be a positive number"),
        ("falcon-h1", "projectors_bias", True, "projectors_bias is True"),
        ("falcon-h1", "mamba_n_groups", 4, "mamba_n_groups must be a divisor of the 6 heads"),
        ("falcon-h1-norm", "mamba_norm_before_gate", True, "mamba_norm_before_gate must be false"),
        ("nemotron-h", "hybrid_override_pattern", "M-*M", "for each of 5 layers"),
        ("nemotron-h", "hybrid_override_pattern", "M-*MX", "must be a string of M, .*'M-\\*MX'"),
        ("nemotron-h", "hybrid_override_pattern", None, "hybrid_override_pattern must be a string of M, "),
        ("nemotron-h", "layers_block_type", "mamba", "layers_block_type must be a list"),
        ("nemotron-h", "mlp_hidden_act", "silu", "mlp_hidden_act must be relu2"),
        ("nemotron-h", "mamba_hidden_act", "relu", "mamba_hidden_act must be silu"),
        ("nemotron-h", "attention_head_dim", 16, "attention_head_dim must be 24, the same as head_dim"),
        ("nemotron-h", "time_step_limit", [0.001, 0.1], "other limits of steps are not supported"),
        ("nemotron-h", "use_bias", True, "use_bias is True"),
        ("nemotron-h", "n_groups", 4, "n_groups must be a divisor of the 6 heads"),
        ("nemotron-h-moe", "moe_latent_size", 32, "moe_latent_size is 32, which is not supported"),
        ("nemotron-h-moe", "routed_scaling_factor", 5.0, "routed_scaling_factor must be a positive number"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(
    tmp_path: Path, name: str, key: str, value: object, problem: str
) -> None:
    with pytest.raises(ModelError, match=problem):
        intact.load(folder_of(tmp_path, name, {key: value}))


@pytest.mark.parametrize(
    ("architecture", "changes", "problem"),
    [
        (
            "granitehybrid",
            {"attention.head_count_kv": [0, 0, 0]},
            "0 for layers with a state space, and for at least one other",
        ),
        ("granitehybrid", {"attention.head_count_kv": [0, 1]}, "has 2 entries, expected 3"),
        ("granitehybrid", {"rope.scaling.finetuned": True, "rope.dimension_count": 12}, "24, the head width"),
        ("granitehybrid", {"ssm.group_count": 3}, "a divisor of the 4 heads"),
        ("falcon-h1", {"ssm.inner_size": 98}, "a multiple of the 4 heads"),
        ("falcon-h1", {"ssm.group_count": 3}, "a divisor of the 4 heads"),
        ("falcon-h1", {"embedding_scale": 2.0}, "embedding_scale is 2.0, which is not supported"),
        ("nemotron_h", {"feed_forward_length": [0, 160, 160, 0, 160]}, "0 for layers with attention or a state space"),
        ("nemotron_h", {"feed_forward_length": [0, 160, 0, 0, 80]}, "and the same number for all other layers"),
        ("nemotron_h", {"feed_forward_length": [0] * 5}, "and the same number for all other layers"),
        ("nemotron_h", {"feed_forward_length": 160}, "must be an array"),
        ("nemotron_h_moe", {"moe_latent_size": 32}, "moe_latent_size is 32, which is not supported"),
        ("nemotron_h_moe", {"expert_gating_func": 1}, "expert_gating_func is 1, which is not supported"),
    ],
)
def test_gguf_files_that_would_be_computed_wrongly_are_refused(
    tmp_path: Path, architecture: str, changes: dict[str, object], problem: str
) -> None:
    changed = {f"{architecture}.{key}": value for key, value in changes.items()}
    with pytest.raises(ModelError, match=problem):
        intact.load(write_tiny(tmp_path / "tiny.gguf", architecture, metadata=changed))


def test_a_file_without_a_state_space_of_a_layer_is_refused(tmp_path: Path) -> None:
    changed = {"granitehybrid.attention.head_count_kv": [0, 0, 1]}
    with pytest.raises(ModelError, match=r"tensor blk\.1\.ssm_in_gate\.weight is missing"):
        intact.load(write_tiny(tmp_path / "tiny.gguf", "granitehybrid", metadata=changed))


@pytest.mark.parametrize(
    ("added", "removed", "problem"),
    [
        ("blk.0.ssm_norm.weight", "", r"tensor blk\.1\.ssm_norm\.weight is missing"),
        ("", "blk.1.ssm_conv1d.bias", r"tensor blk\.1\.ssm_conv1d\.bias is missing"),
    ],
)
def test_files_whose_tensors_say_another_layer_are_refused(
    tmp_path: Path, added: str, removed: str, problem: str
) -> None:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "falcon-h1")) as checkpoint:
        tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name != removed}
        if added:
            tensors[added] = Tensor(added, "F32", (2, 48), np.ones(96, "<f4").view(np.uint8))
        with pytest.raises(ModelError, match=problem):
            build_program(Checkpoint(checkpoint.path, "gguf", checkpoint.metadata, tensors))


def test_a_quantised_model_holds_its_factors_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder", "falcon-h1")
    quantize(folder, tmp_path / "eight", "int8-32")
    quantize(tmp_path / "eight", tmp_path / "again", "keep", embeddings="int8-32")
    config = json.loads((tmp_path / "eight" / "config.json").read_text())
    assert config["ssm_multipliers"] == [1.0] * 5
    assert config["key_multiplier"] == 1.0
    assert config["embedding_multiplier"] == VARIANTS["falcon-h1"].config["embedding_multiplier"]
    whole, *others = (intact.load(tmp_path / name, "fp32").logits(TOKENS) for name in ("folder", "eight", "again"))
    for other in others:
        assert 0 < np.abs(whole - other).max() < 0.02 * np.ptp(whole)


def test_quantised_matrices_with_factors_are_refused(tmp_path: Path) -> None:
    quantize(folder_of(tmp_path / "folder", "falcon-h1"), tmp_path / "eight", "int8-32")
    config = tmp_path / "eight" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"key_multiplier": 0.5}))
    with pytest.raises(ModelError, match=r"k_proj\.weight is .* and has a factor other than 1, but only floats"):
        intact.load(tmp_path / "eight")
