"""Transforms: the function stays, the scales are the papers', and the same bits come of every run."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.numerics.dequantize import dequantize
from intact.quantizing import Calibration, quantize
from intact.quantizing.calibration import Collector, products
from intact.quantizing.quantizers import TRANSFORMS, InputStatistics, parse_spec, parse_target
from intact.quantizing.quantizers.transforms.agile import powers
from intact.quantizing.quantizers.transforms.awq import best_scales, rounding_error
from intact.quantizing.quantizers.transforms.folding import ScalableInput
from intact.quantizing.quantizers.transforms.pcg64 import Pcg64
from intact.quantizing.quantizers.transforms.rearrange import column_shares
from intact.quantizing.quantizers.transforms.rotate import orthogonal, turn
from intact.quantizing.quantizers.transforms.smooth import power_of_two_root
from intact.quantizing.quantizers.transforms.structure import Projection
from intact.quantizing.structure import find_structure
from intact.quantizing.transforming import write_transformed
from support.folders import write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS

TEXT = "the cat sat on the mat and the dog ran to the man " * 60
TOKENS = [5, 9, 40, 77, 12, 200, 31]
SPECS = (parse_spec("int3-16"),)


def collect(program: Any) -> Any:
    """Return the statistics of a program on a few tokens."""
    found = Collector(program, 1).collect(Calibration(tuple(range(3, 131)), 32, 4), list(products(program)))
    return found.__getitem__


def read(path: Path, name: str) -> np.ndarray:
    with open_checkpoint(path) as checkpoint:
        tensor = build_program(checkpoint).tensors[name]
        return dequantize(tensor.kind, tensor.data, tensor.shape).copy()


def logits(path: Path, **how: Any) -> np.ndarray:
    return intact.load(path, "fp32", **how).logits(TOKENS)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_keeps_the_function_and_changes_the_weights(architecture: str, name: str, tmp_path: Path) -> None:
    path, out = write_tiny(tmp_path / "tiny.gguf", architecture, tied=True), tmp_path / "out"
    if (architecture, name) == ("gemma3", "rotate"):
        with pytest.raises(ParameterError, match="whose gains do not commute with a rotation"):
            write_transformed(path, name, out)
        return
    write_transformed(path, name, out, SPECS, collect)
    before, after = logits(path), logits(out)
    assert np.abs(before - after).max() < 1e-4 * np.abs(before).max()
    names = ("ffn_gate", "attn_output", "ffn_down")
    assert any(not np.array_equal(read(path, f"blk.0.{n}.weight"), read(out, f"blk.0.{n}.weight")) for n in names)


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("llama", "rotate"),
        ("llama-biases", "rotate"),
        ("llama-biases", "permute"),
        ("llama-biases", "awq"),
        ("gemma3", "awq"),
    ],
)
def test_folders_of_transformers_keep_the_function(variant: str, name: str, tmp_path: Path) -> None:
    """Gains that are stored less one, heads that config.json ties, biases of all matrices."""
    own = VARIANTS[variant]
    path = write_folder(
        tmp_path / "in", own._replace(config=own.config | {"tie_word_embeddings": True}), "s", {"lm_head.weight": None}
    )
    write_transformed(path, name, tmp_path / "out", SPECS, collect)
    assert np.abs(logits(path) - logits(tmp_path / "out")).max() < 1e-4 * np.abs(logits(path)).max()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] == (name != "rotate")


def test_tensors_that_do_not_change_keep_their_bytes(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    write_transformed(path, "smooth", tmp_path / "out", (), collect)
    assert np.array_equal(read(path, "token_embd.weight"), read(tmp_path / "out", "token_embd.weight"))
    with open_checkpoint(tmp_path / "out") as checkpoint:
        kinds = {name: tensor.kind for name, tensor in checkpoint.tensors.items()}
    assert kinds["blk.0.attn_q.weight"] == "F32"
    with open_checkpoint(path) as checkpoint:
        assert kinds["blk.0.ffn_down.weight"] == checkpoint.tensors["blk.0.ffn_down.weight"].kind


def test_smooth_has_the_authors_scales_and_its_powers_of_two_are_the_nearest(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    with open_checkpoint(path) as checkpoint:
        program = build_program(checkpoint)
        norm = find_structure(program).norms[0]
        statistics = collect(program)(norm.op)
    matrices = [read(path, name) for name in norm.matrices]
    largest = np.abs(np.concatenate(matrices)).max(axis=0).astype(float)
    inputs = statistics.largest[: len(largest)] * 2.0**statistics.exponent
    wanted = inputs**0.5 / largest**0.5
    for name, scales in (("smooth", wanted), ("smooth_pow2", 2.0 ** np.round(np.log2(wanted)))):
        write_transformed(path, name, tmp_path / name, (), collect)
        got = read(path, norm.gain).astype(float) / read(tmp_path / name, norm.gain)
        assert got == pytest.approx(scales, rel=1e-6)
        assert read(tmp_path / name, norm.matrices[0]) == pytest.approx(matrices[0] * scales, rel=1e-6)
    assert power_of_two_root(np.array([1.0, 1.99, 2.0, 7.99, 8.0, 0.5, 0.49])).tolist() == [1, 1, 2, 2, 4, 1, 0.5]


def test_factors_of_channels_are_the_best_of_all_and_leave_all_bits() -> None:
    """Against all 3^6 choices; a block of others is not looked at."""
    draw = np.random.default_rng(3)

    def error(largest: np.ndarray, powers: Any) -> int:
        step = (largest * 4 >> np.array(powers)).max()
        return int((4 ** np.array(powers)).sum() * step**2)

    for _ in range(40):
        largest = draw.integers(0, 1000, 64) * draw.choice([1, 1, 10], 64)
        largest[6:32] = 0
        got = powers(largest)
        choices = [(*some, *[0] * 26) for some in product(range(3), repeat=6)]
        assert error(largest[:32], got[:32]) == min(error(largest[:32], choice) for choice in choices)
        assert np.array_equal(got[32:], powers(largest[32:]))
    assert powers(np.array([8, 8, 80])).tolist() == [0, 0, 2]
    assert powers(np.zeros(5, np.int64)).tolist() == [0] * 5


def test_agile_changes_nothing_but_exponents(tmp_path: Path) -> None:
    path, out = write_tiny(tmp_path / "tiny.gguf"), tmp_path / "out"
    write_transformed(path, "agile", out, (), collect)
    ratio = read(out, "blk.0.ffn_gate.weight") / read(path, "blk.0.ffn_gate.weight")
    assert set(np.unique(ratio[np.isfinite(ratio)])) <= {1, 2, 4}


def test_awq_finds_the_exponent_of_the_least_error() -> None:
    """Against a float64 search by the paper's rule: the same scales, and no more error than without."""
    draw = np.random.default_rng(0)
    sizes = np.exp(draw.standard_normal(64) * 1.5)
    x = np.round(draw.standard_normal((400, 64)) * sizes * 1000).astype(np.int64)
    inputs = InputStatistics(400, -10, x.T @ x, np.abs(x).max(axis=0), np.abs(x).sum(axis=0))
    matrices = [draw.standard_normal((n, 64)).astype(np.float32) for n in (24, 40)]
    spec = parse_spec("int3-32@largest")
    where = ScalableInput(0, ("a", "b"), Projection("c"))
    found = best_scales(where, matrices, inputs, (spec,))

    def error(scales: np.ndarray) -> float:
        total = 0.0
        for w in matrices:
            blocks = (w * scales).reshape(len(w), 2, 32)
            step = np.abs(blocks).max(axis=2, keepdims=True) / 3
            d = (np.clip(np.floor(blocks / step + 0.5), -4, 3) * step).reshape(w.shape) / scales - w
            total += ((x @ d.T) ** 2).sum()
        return total

    means = np.abs(x).mean(axis=0)
    tries = []
    for i in range(20):
        s = (means / means.max()) ** (i / 20)
        tries.append(s / np.sqrt(s.max() * s.min()))
    errors = [error(s) for s in tries]
    assert found == pytest.approx(tries[int(np.argmin(errors))], rel=1e-9)
    assert error(found) < 0.9 * errors[0]
    assert rounding_error(matrices[0], found, spec).shape == matrices[0].shape


def test_values_shared_by_heads_have_one_scale(tmp_path: Path) -> None:
    where = ScalableInput(0, ("o",), Projection("v"), groups=2, width=3)
    pooled = where.pool(np.arange(12), np.add)  # heads 0 and 1 read the values 0, heads 2 and 3 the values 1
    assert pooled.tolist() == [0 + 3, 1 + 4, 2 + 5, 6 + 9, 7 + 10, 8 + 11]
    assert where.spread(np.arange(6.0)).tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]


@pytest.mark.parametrize("n", [8, 12])
def test_rotations_are_orthogonal(n: int) -> None:
    q = orthogonal(n, Pcg64(0))
    assert np.abs(q @ q.T - np.eye(n)).max() < 1e-12
    w = np.random.default_rng(0).standard_normal((5, n)).astype(np.float32)
    assert np.abs(turn(w, q) - w @ q).max() < 1e-5


def test_draws_are_those_of_numpy() -> None:
    ours, theirs = Pcg64(0), np.random.default_rng(0)
    for n in (2, 7, 96, 160):
        assert np.array_equal(ours.permutation(n), theirs.permutation(n))
        assert np.array_equal(ours.int16(n), theirs.integers(-(1 << 15), 1 << 15, n))


def test_rearranged_channels_descend_and_no_scale_fits_worse(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    write_transformed(path, "rearrange", tmp_path / "out")
    shares = column_shares(read(tmp_path / "out", "blk.1.ffn_down.weight"))
    assert np.all(np.diff(shares) <= 0)
    w = read(path, "blk.1.ffn_down.weight").astype(float)
    assert np.sort(shares) == pytest.approx(np.sort((w**2).sum(axis=0) / (w**2).sum()), rel=1e-4)


def test_the_digest_does_not_depend_on_threads_and_a_run_that_was_cut_goes_on(tmp_path: Path) -> None:
    model, text = write_tiny(tmp_path / "tiny.gguf"), tmp_path / "text.txt"
    text.write_text(TEXT)
    how: dict[str, Any] = {"calibrate": text, "context": 32, "windows": 4}
    spec = "rotate+awq+gptq:int3-16"

    def cut(stage: str, done: int, whole: int) -> None:
        if stage == "transform awq" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(model, tmp_path / "a", spec, threads=1, progress=cut, **how)
    assert (tmp_path / "a.partial" / "transformed-rotate").is_dir()
    stages = []
    done = quantize(model, tmp_path / "a", spec, threads=1, progress=lambda stage, *_: stages.append(stage), **how)
    assert "transform awq" in stages
    assert "transform rotate" not in stages
    again = quantize(model, tmp_path / "b", spec, threads=3, **how)
    assert (done.digest, done.proxy) == (again.digest, again.proxy)
    assert done.digest != quantize(model, tmp_path / "c", "gptq:int3-16", **how).digest
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        path.name for path in (tmp_path / "c").iterdir()
    )
    ours = intact.load(tmp_path / "a").logits(TOKENS)
    assert np.array_equal(ours, intact.load(tmp_path / "a", executor="reference").logits(TOKENS))


def test_a_mixture_of_a_transformed_model(tmp_path: Path) -> None:
    model, text = write_tiny(tmp_path / "tiny.gguf"), tmp_path / "text.txt"
    text.write_text(TEXT)
    how: dict[str, Any] = {"calibrate": text, "context": 32, "windows": 4}
    done = quantize(model, tmp_path / "out", "awq+mix:4.5@output(int3-16|int8-32)", embeddings="int8-32", **how)
    assert done.spec == "awq+mix:4.5@output(nearest:int3-16@search|nearest:int8-32@search)"
    assert str(parse_target(done.spec)) == done.spec


@pytest.mark.parametrize(
    ("spec", "embeddings", "message"),
    [
        ("nothing+int4", "keep", "no transform named 'nothing'; available: agile, awq"),
        ("awq+awq+int4", "keep", "the transform awq is given twice"),
        ("mix:4(awq+int3|int8)", "keep", r"transforms apply to all specs and go before the mixture: awq\+mix"),
        ("awq+int4", "keep", "needs a calibration text"),
        ("rearrange+", "keep", "is not a spec"),
        ("awq+ptqtp:trits-32", "keep", "the search for scales rounds to nearest and needs a grid with one plane"),
        ("rearrange+int4", "rearrange+int8", "transforms belong in the spec of the matrices"),
    ],
)
def test_mistakes_are_named_before_the_work(spec: str, embeddings: str, message: str, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf")
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    with pytest.raises(ParameterError, match=message):
        quantize(model, tmp_path / "out", spec, embeddings=embeddings, calibrate=None if "text" in message else text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt", "tiny.gguf"]
