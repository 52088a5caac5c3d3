"""Folders that other programs quantised: matrices are read exactly, and models run as those of the same floats."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError, ModelError
from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised import FORMS, gptq, read_quantised
from intact.checkpoints.formats.quantised.integers import round_scales
from intact.checkpoints.formats.safetensors import read_safetensors
from intact.numerics.dequantize import dequantize
from intact.numerics.integers import INTEGER, from_bytes
from intact.quantizing import quantize
from intact.receipts.identity import weights_of
from intact.receipts.verify import verify
from support import packing
from support.folders import tensor_values, tokenizer_json, write_folder, write_safetensors
from support.packing import Packed, Part
from support.variants import VARIANTS
from support.variants.form import TOKENS, Variant

VARIANT = Variant(VARIANTS["llama"].config | {"intermediate_size": 128})
Draw = Callable[[np.random.Generator, int, int], Packed]

GPTQ: dict[str, Any] = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": False}
AWQ: dict[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
BNB: dict[str, Any] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
BITNET: dict[str, Any] = {"quant_method": "bitnet", "quantization_mode": "offline"}
FP8: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic"}
MODELOPT: dict[str, Any] = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}


def compressed(form: str, **weights: Any) -> dict[str, Any]:
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group"} | weights
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": groups, "ignore": ["lm_head"]}


def per_output(draw: np.random.Generator, rows: int, columns: int, end: str) -> Packed:
    return packing.float8(draw, rows, columns, end, (rows, 1))


def blocks_of_48(draw: np.random.Generator, rows: int, columns: int, end: str) -> Packed:
    return packing.float8(draw, rows, columns, end, (-(-rows // 48), -(-columns // 48)), 48)


LOSSLESS: dict[str, tuple[dict[str, Any], Draw, str]] = {
    "gptq 4": (GPTQ, packing.gptq, INTEGER),
    "gptq 4 symmetric": (GPTQ, partial(packing.gptq, symmetric=True), INTEGER),
    "gptq 8": (GPTQ | {"bits": 8}, partial(packing.gptq, bits=8), INTEGER),
    "gptq 3": (GPTQ | {"bits": 3}, partial(packing.gptq, bits=3), INTEGER),
    "gptq 2": (GPTQ | {"bits": 2}, partial(packing.gptq, bits=2), INTEGER),
    "gptq v2": (GPTQ | {"checkpoint_format": "gptq_v2"}, partial(packing.gptq, stored=0), INTEGER),
    "gptq one group": (GPTQ | {"group_size": -1}, partial(packing.gptq, group=1 << 20), INTEGER),
    "gptq last group shorter": (GPTQ | {"group_size": 96}, partial(packing.gptq, group=96), INTEGER),
    "gptq act-order": (GPTQ | {"desc_act": True}, partial(packing.gptq, order=True), "F32"),
    "gptq of several widths": (GPTQ | {"dynamic": {"x": {"bits": 8}}}, partial(packing.gptq, bits=8), INTEGER),
    "awq": (AWQ, packing.awq, INTEGER),
    "packed 4": (compressed("pack-quantized"), packing.packed_integers, INTEGER),
    "packed 8": (compressed("pack-quantized", num_bits=8), partial(packing.packed_integers, bits=8), INTEGER),
    "packed 4 with zeros": (
        compressed("pack-quantized", symmetric=False), partial(packing.packed_integers, zeros=True), INTEGER
    ),
    "packed act-order": (
        compressed("pack-quantized", actorder="group"), partial(packing.packed_integers, order=True), "F32"
    ),
    "int8 per output": (
        compressed("int-quantized", num_bits=8, strategy="channel"), packing.plain_integers, INTEGER
    ),
    "int8 with zeros": (
        compressed("int-quantized", num_bits=8, symmetric=False), partial(packing.plain_integers, zeros=True), INTEGER
    ),
    "float8 per output": (
        compressed("float-quantized", num_bits=8, type="float", strategy="channel"),
        partial(per_output, end=".weight_scale"), "F32",
    ),
    "float8 by blocks": (
        compressed("float-quantized", num_bits=8, type="float", strategy="block", block_structure=[48, 48]),
        partial(blocks_of_48, end=".weight_scale"), "F32",
    ),
    "nvfp4 packed": (
        compressed("nvfp4-pack-quantized", type="float", group_size=16),
        partial(packing.nvfp4, packed=".weight_packed", whole=".weight_global_scale", divides=True), INTEGER,
    ),
    "mxfp4 packed": (
        compressed("mxfp4-pack-quantized", type="float", group_size=32),
        lambda draw, rows, columns: packing.mxfp4(draw, (rows, columns), ".weight_packed", ".weight_scale", flat=True),
        "MXFP4",
    ),
    "fp8 by blocks": (
        FP8 | {"weight_block_size": [48, 48]}, partial(blocks_of_48, end=".weight_scale_inv"), "F32"
    ),
    "fp8 of one scale": (FP8, partial(packing.float8, end=".weight_scale", shape=()), "F32"),
    "modelopt nvfp4": (MODELOPT, partial(packing.nvfp4, packed=".weight", whole=".weight_scale_2"), INTEGER),
    "modelopt fp8": (
        MODELOPT | {"quant_algo": "FP8"}, partial(packing.float8, end=".weight_scale", shape=()), "F32"
    ),
    "mxfp4": (
        {"quant_method": "mxfp4"},
        lambda draw, rows, columns: packing.mxfp4(draw, (rows, columns), ".weight_blocks", ".weight_scales"),
        "MXFP4",
    ),
    "bitnet": (BITNET | {"linear_class": "autobitlinear"}, packing.ternary, INTEGER),
    "bitnet that divides": (BITNET, partial(packing.ternary, divides=True), INTEGER),
    "int8 of bitsandbytes": (BNB | {"load_in_4bit": False, "load_in_8bit": True}, packing.int8_outputs, INTEGER),
}  # fmt: skip
"""Settings, matrices, and what they become; all of which float32 holds."""


def quantised_folder(folder: Path, settings: Mapping[str, Any] | None, draw: Draw) -> dict[str, np.ndarray]:
    """Write a model whose matrices in layers are quantised; return their values."""
    folder.mkdir(parents=True)
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    values: dict[str, np.ndarray] = {}
    for name, array in tensor_values(VARIANT.config, "quantised").items():
        if name.endswith("_proj.weight"):
            packed = draw(np.random.default_rng(len(values)), *array.shape)
            tensors |= {name.removesuffix(".weight") + end: part for end, part in packed.parts.items()}
            values[name] = packed.values
        else:
            tensors[name] = ("F32", array.shape, array.astype("<f4").tobytes())
    write_safetensors(folder / "model.safetensors", tensors)
    config = dict(VARIANT.config) | ({} if settings is None else {"quantization_config": settings})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    return values


def raw_logits(folder: Path, **options: Any) -> np.ndarray:
    return intact.load(folder, **options).logits(TOKENS, raw=True)[0]


def test_every_form_is_tested() -> None:
    assert {settings["quant_method"] for settings, _, _ in LOSSLESS.values()} == set(FORMS)


@pytest.mark.parametrize("name", LOSSLESS)
def test_matrices_are_read_exactly(tmp_path, name) -> None:
    settings, draw, kind = LOSSLESS[name]
    values = quantised_folder(tmp_path / "model", settings, draw)
    with open_checkpoint(tmp_path / "model") as checkpoint:
        assert "quantization_config" not in checkpoint.metadata
        for stem, exact in values.items():
            tensor = checkpoint.tensors[stem]
            assert (tensor.kind, tensor.shape) == (kind, exact.shape)
            assert np.array_equal(dequantize(tensor.kind, tensor.data, tensor.shape), exact.astype(np.float32))


@pytest.mark.native
@pytest.mark.parametrize("name", LOSSLESS)
def test_the_fp32_profile_computes_as_with_the_same_floats(tmp_path, name) -> None:
    settings, draw, _ = LOSSLESS[name]
    values = quantised_folder(tmp_path / "model", settings, draw)
    floats = {stem: exact.astype(np.float32) for stem, exact in values.items()}
    plain = write_folder(tmp_path / "plain", VARIANT, "quantised", floats)
    assert np.array_equal(raw_logits(tmp_path / "model", profile="fp32"), raw_logits(plain, profile="fp32"))


@pytest.mark.native
@pytest.mark.parametrize("name", ["gptq 4", "gptq 3", "gptq act-order", "int8 with zeros", "modelopt nvfp4", "mxfp4"])
def test_both_executors_compute_the_same_bits(tmp_path, name) -> None:
    settings, draw, _ = LOSSLESS[name]
    quantised_folder(tmp_path / "model", settings, draw)
    ours, reference = (raw_logits(tmp_path / "model", executor=executor) for executor in ("native", "reference"))
    assert np.array_equal(ours, reference)


def one_matrix(settings: Mapping[str, Any], packed: Packed, **changes: Part | None) -> Tensor:
    """Read a matrix "m" from its parts; `changes` replaces some or leaves them out, by their ends with _ for a dot."""
    parts = packed.parts | {end.replace("_", ".", 1): part for end, part in changes.items()}
    tensors = {
        "m" + end: Tensor("m" + end, part[0], part[1], np.frombuffer(part[2], np.uint8))
        for end, part in parts.items()
        if part is not None
    }
    read = read_quantised(Metadata(settings, "config.json", error=FormatError), tensors, Path("model.safetensors"))
    return read["m.weight"]


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("kind", "step"), [("nf4", 127), ("fp4", 120)])
def test_levels_of_bitsandbytes_are_rounded_to_a_fraction_of_absmax(kind: str, step: int, double: bool) -> None:
    packed = packing.bitsandbytes(np.random.default_rng(3), 12, 160, kind, double)
    tensor = one_matrix(BNB, packed)
    found = dequantize(tensor.kind, tensor.data, tensor.shape)
    absmax = np.abs(packed.values.reshape(-1, 32)).max()
    assert tensor.kind == INTEGER
    assert 0 < np.abs(found - packed.values).max() < (0.0037 if kind == "nf4" else 0.0032) * absmax
    assert np.array_equal(found == 0, packed.values == 0)
    levels = packed.values.reshape(-1, 32) / np.abs(packed.values.reshape(-1, 32)).max(axis=1, keepdims=True)
    whole = np.abs(levels) == 1  # blocks that reach their absmax, and the values that do
    assert np.allclose(
        found.reshape(-1, 32)[whole], packed.values.reshape(-1, 32)[whole], rtol=2**-12, atol=1 / step / 50
    )


@pytest.mark.native
def test_a_model_of_bitsandbytes_runs_near_its_floats(tmp_path) -> None:
    values = quantised_folder(tmp_path / "model", BNB, partial(packing.bitsandbytes, double=True))
    floats = {stem: exact.astype(np.float32) for stem, exact in values.items()}
    plain = write_folder(tmp_path / "plain", VARIANT, "quantised", floats)
    ours, theirs = (raw_logits(folder, profile="fp32") / 65536 for folder in (tmp_path / "model", plain))
    assert 0 < np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max()


def test_floats_of_bitnet_become_ternary_when_they_are_read(tmp_path) -> None:
    settings = BITNET | {"linear_class": "autobitlinear", "quantization_mode": "online"}
    folder = write_folder(tmp_path, VARIANT, "x")
    (folder / "config.json").write_text(json.dumps(dict(VARIANT.config) | {"quantization_config": settings}))
    floats = tensor_values(VARIANT.config, "x")
    with open_checkpoint(folder) as checkpoint:
        for name, values in floats.items():
            tensor = checkpoint.tensors[name]
            found = dequantize(tensor.kind, tensor.data, tensor.shape)
            if not name.endswith("_proj.weight"):
                assert np.array_equal(found, values)
                continue
            scale = np.abs(values).mean()
            assert np.array_equal(np.sign(found), np.clip(np.rint(values / scale), -1, 1))
            assert np.allclose(np.abs(found[found != 0]), scale, rtol=2**-14)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"_weight": packing.part("I8", np.zeros((8, 64), "i1"))}, "is I8"),
        ({"_weight": packing.part("U8", np.full((8, 64), 255, "u1"))}, "has a code of 3; expected 0, 1 and 2"),
        ({"_weight_scale": packing.part("F32", np.ones(2, "<f4"))}, r"has shape \(2,\); expected one number"),
    ],
)
def test_damaged_files_of_bitnet_are_refused(changes: Mapping[str, Part], problem: str) -> None:
    packed = packing.ternary(np.random.default_rng(1), 32, 64)
    with pytest.raises(FormatError, match=problem):
        _ = one_matrix(BITNET, packed, **changes).data


def test_scales_are_rounded_within_a_part_of_the_largest_of_their_row() -> None:
    draw = np.random.default_rng(5)
    exact = draw.standard_normal((200, 40)) * np.exp(draw.uniform(-20, 20, (200, 1)))
    exact[7] = 0
    scale, exponent = round_scales(exact)
    error = np.abs(np.ldexp(scale.astype(np.float64), exponent[:, None]) - exact)
    largest = np.abs(exact).max(axis=1, keepdims=True)
    assert (error <= 2.0**-15 * largest).all()
    assert (error > 2.0**-18 * largest).any()
    assert (np.abs(scale).max(axis=1)[largest[:, 0] > 0] >= 1 << 14).all()


def test_float16_scales_within_a_factor_of_16_of_the_largest_are_exact() -> None:
    exact = np.random.default_rng(6).uniform(1, 16, (300, 20)).astype(np.float16).astype(np.float64)
    scale, exponent = round_scales(exact)
    assert np.array_equal(np.ldexp(scale.astype(np.float64), exponent[:, None]), exact)


def test_random_scales_of_a_matrix_are_within_the_bound() -> None:
    draw = np.random.default_rng(8)
    packed = packing.gptq(draw, 64, 256)
    scale = np.exp(draw.uniform(-9, 0, (8, 64))).astype("<f2")
    tensor = one_matrix(GPTQ, packed, _scales=("F16", scale.shape, scale.tobytes()))
    found = dequantize(tensor.kind, tensor.data, tensor.shape)
    drawn = np.frombuffer(packed.parts[".scales"][2], "<f2").reshape(8, 64)
    ratio = np.repeat((scale / drawn.astype(np.float64)).T, 32, axis=1)
    largest = scale.max(axis=0)[:, None].astype(np.float64)
    # code less zero is at most 15, and so is the zero's distance from the middle times the scale, with its own rounding
    assert 0 < np.abs(found - packed.values * ratio).max(axis=1, keepdims=True).max() < 16 * 2.0**-15 * largest.max()
    assert (np.abs(found - packed.values * ratio) <= 16 * 2.0**-15 * largest).all()


def test_data_are_made_when_they_are_needed_and_once_for_all_who_hold_them() -> None:
    tensor = one_matrix(GPTQ, packing.gptq(np.random.default_rng(1), 32, 64))
    assert tensor.stored_bytes == 32 * 32 + 2 * 16 + 2 * 2 * 32 + 4 * 64
    data = tensor.data
    assert tensor.data is data
    assert not data.flags.writeable
    again = data.copy()
    del data
    assert np.array_equal(tensor.data, again)


def test_opening_reads_no_weights(tmp_path, monkeypatch) -> None:
    settings, draw, _ = LOSSLESS["gptq 4"]
    quantised_folder(tmp_path / "model", settings, draw)
    monkeypatch.setattr(gptq, "unpack_words", None)
    with open_checkpoint(tmp_path / "model") as checkpoint:
        tensor = checkpoint.tensors["model.layers.0.mlp.up_proj.weight"]
        checkpoint.rest()
        with pytest.raises(TypeError):
            _ = tensor.data


@pytest.mark.native
def test_receipts_name_the_integers_that_are_computed_with(tmp_path) -> None:
    folders = [tmp_path / "1", tmp_path / "2"]
    quantised_folder(folders[0], GPTQ, packing.gptq)
    quantised_folder(folders[1], GPTQ | {"checkpoint_format": "gptq_v2"}, partial(packing.gptq, stored=0))
    first, second = map(intact.load, folders)
    answer = first.generate("abc", max_tokens=4, receipt=True)[0][0]
    assert weights_of(first).root == weights_of(second).root
    assert [verdict.outcome for verdict in verify(second, [answer.receipt])] == ["true"]
    quantised_folder(tmp_path / "3", GPTQ, partial(packing.gptq, symmetric=True))
    other = intact.load(tmp_path / "3")
    assert weights_of(other).root != weights_of(first).root
    assert [verdict.outcome for verdict in verify(other, [answer.receipt])] != ["true"]


def test_the_parts_of_a_matrix_may_lie_in_several_files(tmp_path) -> None:
    folder = tmp_path / "model"
    values = quantised_folder(folder, GPTQ, packing.gptq)
    found = read_safetensors(folder / "model.safetensors")
    where = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(found)}
    for file in set(where.values()):
        own = {name: t for name, t in found.items() if where[name] == file}
        write_safetensors(folder / file, {name: (t.kind, t.shape, t.data.tobytes()) for name, t in own.items()})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (folder / "model.safetensors").unlink()
    with open_checkpoint(folder) as checkpoint:
        for name, exact in values.items():
            tensor = checkpoint.tensors[name]
            assert np.array_equal(dequantize(tensor.kind, tensor.data, tensor.shape), exact.astype(np.float32))


def test_a_file_beside_the_configuration_may_describe_the_form(tmp_path) -> None:
    values = quantised_folder(tmp_path / "a", None, packing.gptq)
    (tmp_path / "a" / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 32}))
    quantised_folder(tmp_path / "b", None, LOSSLESS["modelopt nvfp4"][1])
    (tmp_path / "b" / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "NVFP4"}}))
    for folder in ("a", "b"):
        with open_checkpoint(tmp_path / folder) as checkpoint:
            assert all(checkpoint.tensors[name].kind == INTEGER for name in values)


@pytest.mark.native
def test_biases_of_zeros_which_old_files_have_add_nothing(tmp_path) -> None:
    quantised_folder(tmp_path / "a", GPTQ, packing.gptq)

    def with_bias(draw: np.random.Generator, rows: int, columns: int, value: float) -> Packed:
        packed = packing.gptq(draw, rows, columns)
        return packed._replace(parts=packed.parts | {".bias": packing.part("F16", np.full(rows, value, "<f2"))})

    quantised_folder(tmp_path / "b", GPTQ, partial(with_bias, value=0))
    quantised_folder(tmp_path / "c", GPTQ, partial(with_bias, value=1))
    assert np.array_equal(raw_logits(tmp_path / "a"), raw_logits(tmp_path / "b"))
    with pytest.raises(ModelError, match=r"bias.*not part of"):
        intact.load(tmp_path / "c")


@pytest.mark.native
def test_such_a_model_can_be_quantised_again(tmp_path) -> None:
    quantised_folder(tmp_path / "model", GPTQ, packing.gptq)
    quantize(tmp_path / "model", tmp_path / "smaller", "int3-16")
    logits = [intact.load(tmp_path / name).logits(TOKENS) for name in ("model", "smaller")]
    with open_checkpoint(tmp_path / "smaller") as checkpoint:
        weight = from_bytes(checkpoint.tensors["model.layers.0.mlp.up_proj.weight"].data)
    assert (weight.bits, weight.block) == (3, 16)
    assert 0.5 < np.corrcoef(*map(np.ravel, logits))[0, 1] < 1


def test_experts_of_mxfp4_are_one_tensor() -> None:
    packed = packing.mxfp4(np.random.default_rng(2), (3, 4, 64), ".weight_blocks", ".weight_scales")
    tensor = one_matrix({"quant_method": "mxfp4"}, packed)
    assert (tensor.kind, tensor.shape) == ("MXFP4", (3, 4, 64))
    assert np.array_equal(dequantize("MXFP4", tensor.data, tensor.shape), packed.values)


def test_gpt_oss_runs_with_experts_of_mxfp4_as_with_those_floats(tmp_path: Path) -> None:
    variant = VARIANTS["gpt-oss"]._replace(config=VARIANTS["gpt-oss"].config | {"intermediate_size": 96})
    floats = tensor_values(variant.config, "oss")
    draw, packed = np.random.default_rng(4), dict[str, Part]()
    for name, values in dict(floats).items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inputs, outputs = values.shape  # and of MXFP4 outputs by inputs
            own = packing.mxfp4(draw, (experts, outputs, inputs), name + "_blocks", name + "_scales")
            packed |= own.parts
            floats[name] = own.values.swapaxes(1, 2).astype(np.float32)
    exact = write_folder(tmp_path / "floats", variant, "oss", floats)
    folder = write_folder(tmp_path / "packed", variant, "oss", {name: None for name in floats if "experts." in name})
    others = {name: array for name, array in floats.items() if "experts." not in name or name.endswith("_bias")}
    stored = {name: ("F32", array.shape, array.astype("<f4").tobytes()) for name, array in others.items()}
    write_safetensors(folder / "model.safetensors", stored | {name: tuple(part) for name, part in packed.items()})
    config = variant.config | {"quantization_config": {"quant_method": "mxfp4"}}
    (folder / "config.json").write_text(json.dumps(config))
    logits = [intact.load(path, profile="fp32").logits(TOKENS) for path in (exact, folder)]
    assert np.array_equal(*logits)
    integers = [intact.load(path).logits(TOKENS) for path in (exact, folder)]
    assert 0 < np.abs(integers[0] - integers[1]).max() < 0.1 * np.ptp(logits[0])


def test_scales_of_activations_and_caches_are_left_aside() -> None:
    packed = packing.plain_integers(np.random.default_rng(2), 32, 64)
    found = one_matrix(compressed("int-quantized", num_bits=8), packed, _input_scale=("F32", (1,), bytes(4)))
    assert found.shape == (32, 64)


DRAWN = np.random.default_rng(9)
A_GPTQ = packing.gptq(DRAWN, 32, 64)
A_PACKED = packing.packed_integers(DRAWN, 32, 64)
A_FLOAT8 = packing.float8(DRAWN, 96, 96, ".weight_scale_inv", (2, 2), 48)
NANS: Part = ("F8_E4M3", (96, 96), b"\x7f" * 96 * 96)
AN_NF4 = packing.bitsandbytes(DRAWN, 4, 64)
AN_NVFP4 = packing.nvfp4(DRAWN, 4, 64, ".weight", ".weight_scale_2")


def zeros(kind: str, *shape: int, size: int = 4) -> Part:
    return kind, shape, bytes(size * int(np.prod(shape)))


@pytest.mark.parametrize(
    ("settings", "packed", "changes", "message"),
    [
        ({"quant_method": "hqq"}, A_GPTQ, {}, "quant_method must be awq or bitnet or .* found 'hqq'"),
        ({}, A_GPTQ, {}, "quant_method must be"),
        (GPTQ | {"bits": 5}, A_GPTQ, {}, "bits must be 2 or 3 or 4 or 8, found 5"),
        (GPTQ | {"group_size": 0}, A_GPTQ, {}, "group_size must be an integer from 1"),
        (GPTQ | {"checkpoint_format": "marlin"}, A_GPTQ, {}, "checkpoint_format must be gptq or gptq_v2"),
        (GPTQ | {"is_marlin_format": True}, A_GPTQ, {}, "is_marlin_format is True, which is not supported"),
        (GPTQ | {"bits": 8}, A_GPTQ, {}, r"'m.qzeros' has shape \(2, 4\); expected \(2, 8\)"),
        (GPTQ, A_GPTQ, {"_qzeros": None}, "'m.qzeros' is missing; a matrix with .g_idx, .qweight, .scales needs it"),
        (GPTQ, A_GPTQ, {"_qweight": zeros("I64", 8, 32, size=8)}, "'m.qweight' is I64; expected I32"),
        (GPTQ, A_GPTQ, {"_scales": zeros("F16", 2, 31, size=2)}, r"expected \(any, 32\)"),
        (GPTQ, A_GPTQ, {"_g_idx": ("I32", (64,), b"\2\0\0\0" * 64)}, "groups from 2 to 2; expected 0 to 1"),
        (GPTQ, A_GPTQ, {"_weight": zeros("F32", 32, 64)}, "'m.weight' occurs twice"),
        (GPTQ, A_FLOAT8, {}, "no tensor's name ends with .qweight"),
        (AWQ | {"bits": 3}, A_GPTQ, {}, "bits must be an integer from 4 to 4, found 3"),
        (AWQ | {"version": "gemv"}, A_GPTQ, {}, "version must be gemm"),
        (AWQ | {"zero_point": False}, A_GPTQ, {}, "zero_point must be true"),
        (compressed("marlin-24"), A_PACKED, {}, "format must be pack-quantized or"),
        (compressed("pack-quantized", num_bits=2), A_PACKED, {}, "weights: num_bits must be 4 or 8, found 2"),
        (compressed("pack-quantized") | {"config_groups": {}}, A_PACKED, {}, "config_groups must be an object"),
        (compressed("pack-quantized") | {"transform_config": {"a": 1}}, A_PACKED, {}, "transform_config is not"),
        (compressed("pack-quantized"), A_PACKED, {"_weight_shape": ("I64", (2,), bytes(16))}, "for a matrix of 0 x 0"),
        (compressed("pack-quantized"), A_PACKED, {"_weight_scale": zeros("F32", 32, 3)}, "3 groups for 64 inputs"),
        (
            compressed("float-quantized", num_bits=8, type="float"), packing.float8(DRAWN, 32, 64, ".weight_scale", ()),
            {"_weight_zero_point": ("I8", (32, 1), b"\1" * 32)}, "zero_point' has values other than 0",
        ),
        (FP8 | {"weight_block_size": 128}, A_FLOAT8, {}, "weight_block_size must be two sizes"),
        (FP8 | {"weight_block_size": [32, 32]}, A_FLOAT8, {}, r"has shape \(2, 2\); expected \(3, 3\)"),
        (MODELOPT | {"quant_algo": "W4A8_AWQ"}, AN_NVFP4, {}, "quant_algo must be NVFP4 or FP8"),
        (MODELOPT | {"group_size": 32}, AN_NVFP4, {}, "group_size must be an integer from 16 to 16"),
        (MODELOPT, AN_NVFP4, {"_weight_scale": zeros("F8_E4M3", 4, 3, size=1)}, r"expected \(4, 4\)"),
        (BNB, AN_NF4, {"_weight": zeros("U8", 3, 1, size=1)}, "has 3 bytes; expected 128 for 4 x 64"),
        (BNB, AN_NF4, {"_weight.absmax": zeros("F32", 3)}, r"has shape \(3,\); expected \(4\)"),
        (BNB, AN_NF4, {"_weight.quant_state.bitsandbytes__nf4": ("U8", (2,), b"{}")}, "expected JSON with a matrix"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_the_model_is_opened(settings, packed, changes, message) -> None:
    with pytest.raises(FormatError, match=message) as error:
        one_matrix(settings, packed, **changes)
    assert "config.json" in str(error.value) or "model.safetensors" in str(error.value)


@pytest.mark.parametrize("found", [5, [], "gptq", {"quant_method": "gptq", "bits": 4}])
def test_a_configuration_that_does_not_fit_the_folder_is_refused(tmp_path, found) -> None:
    folder = write_folder(tmp_path / "model", VARIANT, "quantised")
    (folder / "config.json").write_text(json.dumps(dict(VARIANT.config) | {"quantization_config": found}))
    with pytest.raises(FormatError, match=r"config.json: quantization_config") as error:
        intact.load(folder)
    assert "expected" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "packed", "changes", "message"),
    [
        (GPTQ, A_GPTQ, {"_scales": ("F16", (2, 32), b"\0\x7e" * 64)}, "'m.scales' has NaN or infinite values"),
        (FP8 | {"weight_block_size": [48, 48]}, A_FLOAT8, {"_weight": NANS}, "has NaN"),
        (MODELOPT, AN_NVFP4, {"_weight_scale_2": zeros("F32", 2)}, "expected a single non-zero number"),
        (BNB, AN_NF4, {"_weight.quant_map": zeros("F32", 16)}, "differs from the levels of nf4"),
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused_when_they_are_read(settings, packed, changes, message) -> None:
    with pytest.raises(FormatError, match=message):
        _ = one_matrix(settings, packed, **changes).data
