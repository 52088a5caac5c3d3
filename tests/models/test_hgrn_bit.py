"""The MatMul-free LM's folders: ternary matrices, their scales, bounds of forget gates, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.models import build_program
from intact.models.hgrn_bit import rooms
from intact.models.ops import GatedRecurrence, Linear, Logits, Norm
from intact.models.program import Program
from intact.numerics.dequantize import dequantize
from intact.numerics.integers import INTEGER, from_bytes
from intact.quantizing.pipeline import quantize
from support import matmul_free
from support.folders import tensor_values, write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.form import TOKENS, Variant

NAME = "hgrn-bit"
MODEL = VARIANTS[NAME]


def with_config(**changes: Any) -> Variant:
    return MODEL._replace(config={**MODEL.config, **changes})


def program_of(folder: Path) -> Program:
    with open_checkpoint(folder) as checkpoint:
        return build_program(checkpoint)


def values_of(program: Program, name: str) -> np.ndarray:
    tensor = program.tensors[name]
    return dequantize(tensor.kind, tensor.data, tensor.shape).astype(np.float64)


def test_matrices_are_ternary_and_their_scales_exact_with_the_norms_before_them(tmp_path: Path) -> None:
    program, stored = program_of(write_folder(tmp_path, MODEL, NAME)), tensor_values(MODEL.config, NAME)
    products = [op for op in program.ops if isinstance(op, Linear | Logits)]
    gains = {op.target: op.gain for op in program.ops if isinstance(op, Norm)}
    assert len(products) == 3 * 6 + 1
    for op in products:
        for name in [op.weight] if isinstance(op, Logits) else [target.weight for target in op.targets]:
            assert name is not None
            assert program.tensors[name].kind == INTEGER
            assert from_bytes(program.tensors[name].data).bits == 2
            assert len(np.unique(np.abs(values_of(program, name)))) <= 2
    assert gains.keys() >= {"entered", "entered_net"}
    own = {
        "blk.1.hgrn_output": "model.layers.1.attn.o_proj",
        "blk.2.ffn_down": "model.layers.2.mlp.down_proj",
        "output": "lm_head",
    }
    for name, theirs in own.items():
        gain = "output_head_norm.weight" if name == "output" else name + "_norm.weight"
        found = values_of(program, name + ".weight") * values_of(program, gain)
        exact = matmul_free.ternary(stored[theirs + ".weight"].astype(np.float64)) * stored[theirs + ".norm.weight"]
        assert np.abs(found - exact).max() <= 2e-7 * np.abs(exact).max()


def test_gate_and_up_share_the_scale_of_the_matrix_that_holds_both(tmp_path: Path) -> None:
    program = program_of(write_folder(tmp_path, MODEL, NAME))
    scales = {np.abs(values_of(program, f"blk.0.ffn_{part}.weight")).max() for part in ("gate", "up")}
    assert len(scales) == 1
    assert program.buffers["hidden"].width == 256  # two thirds of four times 64, rounded up to a multiple of 256


def test_bounds_leave_the_share_of_the_first_layer_and_of_those_behind() -> None:
    given = np.random.default_rng(1).normal(0, 3, (7, 20)).astype(np.float32)
    e = np.exp(given.astype(np.float64) - given.max(0))
    shares = e / e.sum(0)
    assert np.abs(rooms(given) - (1 - (shares.cumsum(0) - shares[0]))).max() < 1e-7
    assert rooms(np.zeros((1, 3), np.float32)).tolist() == [[1.0, 1.0, 1.0]]
    extreme = rooms(np.array([[-1e30, 1e30], [1e30, -1e30]], np.float32))
    assert extreme[1].tolist() == [0.0, 1.0]


def test_the_first_layer_has_no_bound(tmp_path: Path) -> None:
    for variant, expected in ((MODEL, [False, True, True]), (with_config(use_lower_bound=False), [False] * 3)):
        program = program_of(write_folder(tmp_path / str(expected[1]), variant, NAME))
        ops = [op for op in program.ops if isinstance(op, GatedRecurrence)]
        assert [op.room is not None for op in ops] == expected
        assert [op.layer for op in ops] == [0, 1, 2]


def test_the_number_of_heads_changes_nothing(tmp_path: Path) -> None:
    folders = [write_folder(tmp_path / str(heads), with_config(num_heads=heads), NAME) for heads in (1, 16)]
    one, other = (intact.load(folder).logits(TOKENS, raw=True)[0] for folder in folders)
    assert np.array_equal(one, other)


def test_the_int8_profile_is_as_near_as_the_authors_rounding(tmp_path: Path) -> None:
    """Rows of 8 bits under one scale each, as the authors have them, are as far from the float64 program as ours."""

    def divergence(p: np.ndarray, q: np.ndarray) -> float:
        a, b = (x - x.max(1, keepdims=True) for x in (p.astype(np.float64), q.astype(np.float64)))
        a, b = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (a, b))
        return float((np.exp(a) * (a - b)).sum(1).mean())

    values = tensor_values(MODEL.config, NAME)
    exact, theirs = (matmul_free.logits(MODEL.config, values, TOKENS, rounded) for rounded in (False, True))
    ours = intact.load(write_folder(tmp_path, MODEL, NAME)).logits(TOKENS)
    assert divergence(exact, ours) < 0.003
    assert divergence(exact, ours) < 2 * divergence(exact, theirs)


@pytest.mark.native
def test_a_quantised_folder_is_read_as_it_stands(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", MODEL, NAME)
    quantize(folder, tmp_path / "out", "keep", embeddings="int8-32")
    before, after = (program_of(path) for path in (folder, tmp_path / "out"))
    for name, tensor in before.tensors.items():
        if name not in ("token_embd.weight", "output.weight"):  # these have another spec
            assert np.array_equal(values_of(before, name), values_of(after, name)), name
            assert tensor.shape == after.tensors[name].shape


def test_gguf_files_may_have_bounds_or_none(tmp_path: Path) -> None:
    program = program_of(write_tiny(tmp_path / "tiny.gguf", "hgrn_bit"))
    assert any(isinstance(op, GatedRecurrence) and op.room for op in program.ops)
    with open_checkpoint(tmp_path / "tiny.gguf") as checkpoint:
        tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if "hgrn_room" not in name}
        bare = build_program(Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors))
    assert not any(isinstance(op, GatedRecurrence) and op.room for op in bare.ops)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"expand_ratio": 2}, r"expand_ratio"),
        ({"use_short_conv": True}, r"use_short_conv"),
        ({"num_heads": 7}, r"num_heads.*a divisor of hidden_size, 64"),
        ({"hidden_act": "gelu"}, r"hidden_act"),
        ({"num_hidden_layers": 2}, r"model.layers.2|lower_bounds"),
    ],
)
def test_configurations_that_are_not_supported_are_refused(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    folder = write_folder(tmp_path, MODEL, NAME)
    (folder / "config.json").write_text(json.dumps({**MODEL.config, **changes}))
    with pytest.raises(intact.ModelError, match=problem):
        program_of(folder)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"model.lower_bounds": None}, "tensor model.lower_bounds is missing"),
        ({"model.lower_bounds": np.zeros((3, 63), np.float32)}, r"model.lower_bounds has shape \(63,\)"),
        ({"model.lower_bounds": np.zeros(64, np.float32)}, r"model.lower_bounds is F32 of shape \(64,\)"),
        ({"model.lower_bounds": np.zeros((4, 64), np.float32)}, "model.lower_bounds: not part of"),
        ({"model.lower_bounds": np.full((3, 64), np.nan, np.float32)}, "NaN"),
        ({"model.layers.0.attn.i_proj.norm.weight": None}, "attn.i_proj.norm.weight is missing"),
        ({"model.layers.0.mlp.gate_proj.weight": np.zeros((511, 64), np.float32)}, r"expected 256 \+ 256 rows"),
    ],
)
def test_folders_with_wrong_tensors_are_refused(tmp_path: Path, tensors: dict[str, Any], problem: str) -> None:
    with pytest.raises(intact.ModelError, match=problem):
        program_of(write_folder(tmp_path, MODEL, NAME, tensors))
