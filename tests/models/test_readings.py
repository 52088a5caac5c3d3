"""A model has the same bits as a GGUF file, named and ordered as llama.cpp's converter does, and as a folder."""

from pathlib import Path

import numpy as np
import pytest

import intact
from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.models import find_architecture, split_matrices
from intact.models.names import split_rows, ungroup_heads
from intact.numerics.integers import INTEGER, from_bytes, to_bytes
from intact.numerics.weights import from_floats
from intact.quantizing.pipeline import quantize
from intact.receipts.identity import measure
from support.conversion import CHANGES, CONVERTED, convert
from support.folders import tensor_values, write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.form import TOKENS


@pytest.mark.parametrize("name", CONVERTED)
def test_a_gguf_file_and_a_folder_are_one_model(tmp_path: Path, name: str) -> None:
    whole = VARIANTS[name].config
    config = dict(whole.get("text_config", whole))
    config |= {key: CHANGES[key] for key in CHANGES if key in config}
    if name == "mistral":  # Llama's GGUF files have no window
        config["sliding_window"] = None
    if name == "olmo3":  # GGUF has no factor of its own beside YaRN's
        config["rope_scaling"] = {key: v for key, v in config["rope_scaling"].items() if key != "attention_factor"}
    if name == "minicpm3":  # GGUF files are of the 4B alone
        config["dim_model_base"] = 256
    if name == "gemma2":  # GGUF has no other
        config["query_pre_attn_scalar"] = config["head_dim"]
    own = {**whole, "text_config": config} if "text_config" in whole else config
    folder = write_folder(tmp_path / "folder", VARIANTS[name]._replace(config=own, kind="F32", files=1), name)
    file = convert(tmp_path / "model.gguf", config, tensor_values(config, name), *CONVERTED[name])
    one, other = intact.load(folder), intact.load(file)
    if name in ("llama", "exaone", "exaone4"):  # divisors are stored as float32, where a folder's are exact
        difference = np.abs(one.logits(TOKENS) - other.logits(TOKENS)).max()
        assert difference < 1e-3 * np.abs(one.logits(TOKENS)).max()
        return
    assert np.array_equal(one.logits(TOKENS, raw=True)[0], other.logits(TOKENS, raw=True)[0])


@pytest.mark.parametrize("name", ["deepseek-v2-lite", "deepseek-v3"])
def test_older_files_of_deepseek_are_the_same_model(tmp_path: Path, name: str) -> None:
    config = {**VARIANTS[name].config, "rms_norm_eps": CHANGES["rms_norm_eps"]}
    values = tensor_values(config, name)
    files = [convert(tmp_path / f"{whole}.gguf", config, values, "deepseek2", False, whole) for whole in (True, False)]
    older, newer = (intact.load(file) for file in files)
    assert measure(older.program).root == measure(newer.program).root
    assert np.array_equal(older.logits(TOKENS, raw=True)[0], newer.logits(TOKENS, raw=True)[0])


@pytest.mark.parametrize("kind", ["F32", "Q4_0", INTEGER])
def test_rows_of_a_stored_matrix_are_its_rows(kind: str) -> None:
    from intact.measure.conformance.synthetic import random_floats, random_tensor
    from intact.numerics.dequantize import dequantize

    if kind == INTEGER:
        data = to_bytes(from_floats(random_floats("rows", (7, 64), 1.0), 8))
    else:
        data = np.frombuffer(random_tensor("rows", kind, (7, 64), 1.0), np.uint8)
    whole = dequantize(kind, data, (7, 64))
    first, second = split_rows(Tensor("whole", kind, (7, 64), data), {"a": 3, "b": 4})
    assert (first.name, first.shape, second.shape) == ("a", (3, 64), (4, 64))
    parts = [dequantize(kind, part.data, part.shape) for part in (first, second)]
    assert np.array_equal(np.concatenate(parts), whole)
    if kind == INTEGER:
        assert from_bytes(second.data).codes.shape == (4, 64)


@pytest.mark.parametrize("kind", ["F32", "Q4_0", INTEGER])
def test_rows_by_kv_head_become_queries_keys_and_values(kind: str) -> None:
    from intact.measure.conformance.synthetic import random_floats, random_tensor
    from intact.numerics.dequantize import dequantize

    heads, kv_heads, width, shape = 6, 2, 2, (20, 64)
    if kind == INTEGER:
        data = to_bytes(from_floats(random_floats("rows", shape, 1.0), 8))
    else:
        data = np.frombuffer(random_tensor("rows", kind, shape, 1.0), np.uint8)
    whole = dequantize(kind, data, shape)
    found = ungroup_heads(Tensor("wqkv", kind, shape, data), heads, kv_heads, width)
    order = [*range(6), *range(10, 16), 6, 7, 16, 17, 8, 9, 18, 19]
    assert np.array_equal(dequantize(kind, found.data, shape), whole[order])
    wrong = Tensor("wqkv", "F32", (19, 64), np.zeros(19 * 256, np.uint8))
    assert ungroup_heads(wrong, heads, kv_heads, width) is wrong


def test_rows_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    wrong = {"model.layers.0.self_attn.qkv_proj.weight": np.zeros((127, 64), np.float32)}
    folder = write_folder(tmp_path, VARIANTS["phi3"], "phi3", wrong)
    with pytest.raises(intact.ModelError, match=r"qkv_proj.weight has shape \(127, 64\), expected 64 \+ 32 \+ 32 rows"):
        intact.load(folder)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((6, 225, 64), r"shape \(6, 225, 64\), expected 2 matrices of each of 6 experts"),
        ((6, 222, 64), r"expected \(112, 64\)"),
        ((5, 224, 64), "experts"),
    ],
)
def test_stacked_experts_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...], problem: str) -> None:
    name = "model.layers.0.block_sparse_moe.input_linear.weight"
    changed = {name: np.zeros(shape, np.float32)}
    folder = write_folder(tmp_path, VARIANTS["granitemoe"], "granitemoe", changed)
    with pytest.raises(intact.ModelError, match=problem):
        intact.load(folder)


def test_matrices_stored_as_one_are_quantised_apart(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "phi3", ["F32"])
    quantize(path, tmp_path / "out", "int8-32")
    with open_checkpoint(tmp_path / "out") as checkpoint:
        names = set(checkpoint.tensors)
        assert split_matrices(checkpoint) is checkpoint
        assert find_architecture(checkpoint).gguf == "phi3"
    assert {"blk.0.attn_q.weight", "blk.1.ffn_gate.weight", "blk.1.ffn_up.weight"} <= names
    assert not any("attn_qkv" in name for name in names)
    whole, parts = (intact.load(p, "fp32").logits(TOKENS) for p in (path, tmp_path / "out"))
    assert 0 < np.abs(whole - parts).max() < 0.05 * np.abs(whole).max()
