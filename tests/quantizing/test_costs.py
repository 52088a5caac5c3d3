"""Costs of mixtures against floats, and slopes that are measured once and everywhere the same."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.numerics.dequantize import dequantize
from intact.numerics.weights import values
from intact.quantizing import Calibration, quantize
from intact.quantizing.quantizers import (
    COSTS,
    QUANTIZERS,
    InputStatistics,
    SpecMixture,
    parse_recorded,
    parse_spec,
    parse_target,
)
from intact.quantizing.slopes import POWERS, Meter, measure_slopes, noisy, slope
from support.tiny import write_tiny

TEXT = "the cat sat on the mat and the dog ran to the man " * 60


def case() -> tuple[np.ndarray, InputStatistics]:
    draw = np.random.default_rng(3)
    x = draw.standard_normal((300, 96)) @ draw.standard_normal((96, 96))
    fixed = np.round(x * 1024).astype(np.int64)
    matrix = (draw.standard_normal((40, 96)) * np.exp2(draw.integers(-6, 1, (40, 1)))).astype(np.float32)
    matrix[7] = 0
    return matrix, InputStatistics(300, -10, fixed.T @ fixed, np.abs(fixed).max(0), np.abs(fixed).sum(0))


@pytest.mark.parametrize("spec", ["int2-32", "int4-32", "int8-32"])
def test_costs_are_those_of_their_formulas(spec: str) -> None:
    matrix, inputs = case()
    weight = QUANTIZERS["nearest"](matrix, parse_spec(spec), None).weight
    d, h = matrix - values(weight), inputs.second.astype(float) * 2.0 ** (2 * inputs.exponent) / inputs.rows
    norm = float((d**2).sum())
    expected = {
        "output": np.trace(d @ h @ d.T),
        "norm": norm,
        "hawq": np.trace(h) / 96 * norm,
        "divergence": norm / float((matrix.astype(float) ** 2).sum()),
    }
    assert COSTS.keys() == expected.keys()
    for name, cost in COSTS.items():
        assert cost(matrix, weight, inputs) == pytest.approx(expected[name], rel=2e-3), name


def test_a_matrix_of_zeros_costs_nothing() -> None:
    _, inputs = case()
    matrix = np.zeros((4, 96), np.float32)
    weight = QUANTIZERS["nearest"](matrix, parse_spec("int4-32"), None).weight
    assert {cost(matrix, weight, inputs) for cost in COSTS.values()} == {0.0}


def test_noise_has_its_power_and_signs_of_its_own() -> None:
    matrix, _ = case()
    for power in POWERS:
        d = noisy(matrix, power, "a").astype(float) - matrix
        assert np.mean(d**2) == pytest.approx(float(power) * np.mean(matrix.astype(float) ** 2), rel=1e-3)
        assert abs(np.sign(d).mean()) < 0.05
    assert np.array_equal(noisy(matrix, Fraction(1, 64), "a"), noisy(matrix, Fraction(1, 64), "a"))
    assert not np.array_equal(noisy(matrix, Fraction(1, 64), "a"), noisy(matrix, Fraction(1, 64), "b"))


def test_the_slope_is_that_of_least_squares_through_the_origin() -> None:
    kl = [0.011, 0.018, 0.035, 0.04]
    powers = np.array([float(power) for power in POWERS])
    assert slope(kl) == pytest.approx(np.linalg.lstsq(powers[:, None], np.array(kl), rcond=None)[0][0])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def test_slopes_are_measured_once_and_do_not_depend_on_threads(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = Calibration(tuple(range(3, 67)), 32, 2)
    with open_checkpoint(model) as checkpoint:
        program = build_program(checkpoint)
        names = [name for name in program.tensors if name.endswith("ffn_down.weight")]
        one = measure_slopes(program, sample, names, tmp_path / "one", "model", 1)
        three = measure_slopes(program, sample, names[::-1], tmp_path / "three", "model", 3)
        assert one == three
        assert all(value > 0 for value in one.values())
        tensor = program.tensors[names[0]]
        matrix = dequantize(tensor.kind, tensor.data, tensor.shape)
        meter = Meter(program, sample, 1)
        assert meter.divergence(names[0], matrix) < 1e-6 < meter.divergence(names[0], noisy(matrix, POWERS[3], "x"))
        monkeypatch.setattr(Meter, "__init__", None)  # nothing is measured again
        assert measure_slopes(program, sample, names, tmp_path / "one", "model") == one


@pytest.mark.parametrize("cost", sorted(COSTS))
def test_a_mixture_chooses_by_its_cost(cost: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    to = f"mix:4.5@{cost}(int2-32|int4-32|int8-32)"
    how = {"calibrate": tmp_path / "text.txt", "context": 32, "windows": 2}
    one = quantize(model, tmp_path / "one", to, threads=1, **how)  # type: ignore[arg-type]
    two = quantize(model, tmp_path / "two", to, threads=3, statistics=tmp_path / "kept", **how)  # type: ignore[arg-type]
    assert one.digest == two.digest
    assert one.assignment == two.assignment
    assert one.bits_per_weight <= 4.5
    assert one.spec == str(parse_target(to))


def test_costs_are_read_and_written() -> None:
    mixture = parse_target("mix:4.5@hawq(int4|int8)")
    assert isinstance(mixture, SpecMixture)
    assert mixture.cost == "hawq"
    assert str(mixture) == "mix:4.5@hawq(nearest:int4-32@search|nearest:int8-32@search)"
    assert parse_target(str(mixture)) == mixture
    assert str(parse_target("mix:4.5(int4|int8)")) == str(mixture).replace("hawq", "divergence")
    with pytest.raises(ParameterError, match="no cost named 'best'; available: divergence, hawq, norm, output"):
        parse_target("mix:4.5@best(int4|int8)")


def test_a_record_without_a_cost_means_what_was_the_default_when_it_was_written() -> None:
    old = "awq+mix:4.5(nearest:int4-32@search|nearest:int8-32@search)"
    assert str(parse_recorded(old)) == old.replace("4.5", "4.5@output")
    for spec in ("mix:4.5@hawq(int4|int8)", "mix:4.5@divergence(int4|int8)", "gptq:int3-16"):
        assert parse_recorded(spec) == parse_target(spec)
