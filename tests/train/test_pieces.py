"""Every registered piece by itself: gradients of losses, laws of optimisers and schedules, sums and clipping."""

import ast
from fractions import Fraction
from math import cos, exp, log, pi
from pathlib import Path

import numpy as np
import pytest

import intact.train
from intact._base.errors import CapacityError, ParameterError
from intact.train.arithmetic.products import Products
from intact.train.arithmetic.sums import FRACTION, GradientSum, clip_factor, fixed, norm, squared_norm
from intact.train.draws import batch_rows, epoch_order, uniform
from intact.train.examples import TrainExample
from intact.train.loop.forward import Run
from intact.train.loop.scoring import divergence, logit_slopes
from intact.train.losses.preference import minus_log_sigmoid
from intact.train.optimisers.adamw import power
from intact.train.optimisers.muon import orthogonal
from intact.train.pieces import OptimiserSlot, ScoredRow
from intact.train.registry import LOSSES, OPTIMISERS, PARAMETERS, SCHEDULES
from intact.train.settings import TrainSettings, make_piece
from support.training import examples, labelled, pairs, settings, tiny_base

ONE = 1 << 24
LOSS_CASES = [
    "cross_entropy",
    {"name": "preference", "kind": "dpo", "beta": "1/2"},
    {"name": "preference", "kind": "ipo", "beta": "1/2"},
    {"name": "preference", "kind": "simpo", "beta": 2, "gamma": "1/2"},
]


def test_every_loss_has_a_case():
    """The slopes of distillation are not by log-probabilities of targets; they have a test of their own."""
    assert {make_piece("loss", case).name for case in LOSS_CASES} | {"distil"} == set(LOSSES)


@pytest.mark.parametrize("case", LOSS_CASES, ids=str)
def test_a_losss_slopes_are_its_derivative_by_log_probabilities(case):
    loss = make_piece("loss", case)
    random = np.random.default_rng(1)
    count = 2 if loss.name == "preference" else 1
    logprobs = [-random.integers(ONE // 8, 3 * ONE, 5) for _ in range(count)]
    weights = [random.integers(0, 3, 5) for _ in range(count)]
    reference = tuple(-random.integers(ONE // 8, 3 * ONE, 5) for _ in range(count))
    total, shift = 7, 1 << 14

    def value(sequence: int, place: int, by: int) -> float:
        moved = [x.copy() for x in logprobs]
        moved[sequence][place] += by
        return loss.judge(ScoredRow(tuple(moved), tuple(weights), reference), total).loss / ONE / total

    slopes = loss.judge(ScoredRow(tuple(logprobs), tuple(weights), reference), total).slopes
    for sequence in range(count):
        for place in range(5):
            slope = (value(sequence, place, shift) - value(sequence, place, -shift)) / (2 * shift / ONE)
            assert -slopes[sequence][place] == pytest.approx(slope, rel=1e-2, abs=2e-3)


def test_distillation_moves_logits_towards_the_teachers(tmp_path):
    p, goal = (np.float32(np.random.default_rng(n).dirichlet(np.ones(6), 3)) for n in (0, 1))
    slopes = logit_slopes(p, np.zeros(3, np.int64), np.float32([1, 2, 0]), goal)
    assert np.array_equal(slopes[1], (p[1] - goal[1]) * np.float32(2))
    assert not slopes[2].any()
    z, there = (np.float32(np.random.default_rng(n).standard_normal((1, 6))) for n in (2, 3))
    row = TrainExample(np.array([0, 4]), np.array([0, 1]))

    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    def run(x):
        return Run([], x, np.array([round(float(np.log(softmax(x)[0, 4])) * ONE)]))

    expected = (softmax(there) * np.log(softmax(there) / softmax(z))).sum()
    assert divergence(row, run(z), run(there), np.float32(softmax(there)))[0] / ONE == pytest.approx(expected, abs=1e-5)
    base, teacher = tiny_base(tmp_path), tiny_base(tmp_path, "qwen2")
    seen: list[float] = []
    chosen = settings(loss="distil", rate="2e-2", steps=8, batch=2)
    intact.train.fit(
        base, examples()[:2], chosen, tmp_path / "out", teacher=teacher, on_step=lambda p: seen.append(p.loss)
    )
    assert 0 < seen[-1] < seen[0] - 0.1
    with pytest.raises(ParameterError, match="needs a teacher"):
        intact.train.fit(base, examples(), chosen, tmp_path / "none")


def test_preferences_are_learned(tmp_path):
    for kind, rate in (("dpo", "1e-3"), ("ipo", "1e-4"), ("simpo", "1e-3")):
        seen: list[float] = []
        chosen = settings(loss={"name": "preference", "kind": kind, "beta": 1}, rate=rate, steps=8, batch=2)
        base, out = tiny_base(tmp_path), tmp_path / kind
        intact.train.fit(base, pairs()[:2], chosen, out, on_step=lambda p, seen=seen: seen.append(p.loss))
        assert seen[-1] < seen[0] * 0.8
        if kind == "dpo":
            assert seen[0] == pytest.approx(log(2), abs=1e-4)  # trainer and reference are the same bits at first


def test_a_head_learns_labels(tmp_path):
    seen: list[float] = []
    chosen = settings(parameters="head", rate="1e-2", steps=10, batch=4)
    base = tiny_base(tmp_path)
    intact.train.fit(base, labelled(), chosen, tmp_path / "out", on_step=lambda p: seen.append(p.loss))
    assert seen[-1] < seen[0] / 2


@pytest.mark.parametrize("margin", [-30.0, -2.0, 0.0, 0.5, 20.0])
def test_minus_log_sigmoid_is_within_a_millionth(margin):
    assert minus_log_sigmoid(int(margin * ONE)) / ONE == pytest.approx(log(1 + exp(-margin)), abs=1e-4)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_an_optimiser_finds_the_minimum_of_a_parabola(name):
    optimiser = make_piece("optimiser", name)
    goal = np.float32([[3, -1], [0.5, 2]])
    slot = OptimiserSlot(np.zeros_like(goal), tuple(np.zeros_like(goal) for _ in optimiser.moments), 1)
    for step in range(1, 400):
        gradient = slot.tensor - goal
        slot = optimiser.move(slot._replace(step=step), gradient, np.float32(8 / (8 + step)), Products())
    assert np.abs(slot.tensor - goal).max() < 0.1


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_no_element_moves_further_than_the_bound_of_a_step(name):
    optimiser, random = make_piece("optimiser", name), np.random.default_rng(4)
    slot = OptimiserSlot(np.zeros(50, np.float32), tuple(np.zeros(50, np.float32) for _ in optimiser.moments), 1)
    for step in range(1, 60):
        size = 1000.0 if step > 50 else 1e-3
        after = optimiser.move(
            slot._replace(step=step), np.float32(random.standard_normal(50) * size), np.float32(1), Products()
        )
        bound = optimiser.bound(step)
        assert bound is None or np.abs(after.tensor - slot.tensor).max() <= bound * 1.001
        slot = after


def test_adam_follows_its_definition():
    optimiser, random = make_piece("optimiser", {"name": "adamw", "decay": "1/10"}), np.random.default_rng(6)
    w = random.standard_normal(8)
    m, v = np.zeros(8), np.zeros(8)
    slot = OptimiserSlot(np.float32(w), (np.zeros(8, np.float32),) * 2, 1)
    for step in range(1, 20):
        g = random.standard_normal(8)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w * (1 - 0.01 * 0.1) - 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        slot = optimiser.move(slot._replace(step=step), np.float32(g), np.float32(0.01), Products())
    assert np.abs(slot.tensor - w).max() < 1e-4
    assert power("9/10", 3) == 0.9 * 0.9 * 0.9


def test_muons_iteration_gives_singular_values_near_one():
    x = np.float32(np.random.default_rng(7).standard_normal((6, 10)))
    values = np.linalg.svd(orthogonal(x, Products()), compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_schedule_is_an_exact_rational_between_0_and_1_after_a_linear_warm_up(name):
    schedule = make_piece("schedule", {"name": name, "warmup": 4})
    factors = [schedule.factor(step, 24) for step in range(1, 25)]
    assert all(isinstance(factor, Fraction) and 0 < factor <= 1 for factor in factors)
    assert factors[:5] == [Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), 1, 1]
    assert sorted(factors[4:], reverse=True) == factors[4:]
    if name == "cosine":
        assert float(factors[13]) == pytest.approx((1 + cos(pi * 9 / 20)) / 2, abs=1e-7)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_trained_parameters_start_where_the_model_is(tmp_path, name):
    """Before the first step, the program with the parameters in place computes what it did without."""
    base = tiny_base(tmp_path)
    piece = make_piece("parameters", name)
    tensors = piece.start(base.program, 3)
    placed = piece.place(base.program, tensors)
    learned = piece.learned(placed, tensors)
    assert {one.master for one in learned.values()} == set(tensors)
    assert learned.keys() <= placed.tensors.keys()
    assert all(np.array_equal(piece.start(base.program, 3)[n], x) for n, x in tensors.items())
    for part, one in learned.items():
        if name == "lora" and part.endswith("lora_b.0"):
            assert not tensors[one.master].any()


def test_a_missing_matrix_and_unknown_pieces_are_refused_with_what_there_is(tmp_path):
    base = tiny_base(tmp_path)
    with pytest.raises(ParameterError, match="attn_q"):
        make_piece("parameters", {"name": "lora", "targets": "q_proj"}).start(base.program, 0)
    with pytest.raises(ParameterError, match="cross_entropy"):
        TrainSettings(loss="crossentropy")
    with pytest.raises(ParameterError, match="rank"):
        TrainSettings(parameters={"name": "lora", "rang": 3})
    for wrong in ({"rate": "0"}, {"rate": "x"}, {"steps": 0}, {"batch": 10_000}, {"clip": "-1"}, {"profile": "int16"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            TrainSettings(**wrong)


def test_settings_survive_a_round_trip():
    chosen = settings(clip=None, rate=1e-4, parameters={"name": "lora", "targets": ["attn_q", "attn_v"]})
    assert chosen.rate == "1/10000"
    assert TrainSettings.from_dict(chosen.to_dict()) == chosen


def test_squared_norms_are_exact():
    random = np.random.default_rng(8)
    values = random.integers(-(1 << 62), 1 << 62, 1000)
    assert squared_norm([values]) == sum(int(v) ** 2 for v in values)
    assert norm({"a": np.array([3 << FRACTION]), "b": np.array([-4 << FRACTION])}) == 5 << FRACTION


def test_clipping_limits_the_norm():
    assert clip_factor(5 << FRACTION, None) == clip_factor(5 << FRACTION, Fraction(5)) == 1
    factor = clip_factor(5 << FRACTION, Fraction(1))
    assert factor <= 0.2
    assert factor == pytest.approx(0.2, rel=1e-6)


def test_gradients_are_rounded_half_up_and_too_large_ones_are_errors_that_name_the_tensor():
    assert fixed("x", np.float32([2.0**-41, -(2.0**-41), 1])).tolist() == [1, 0, 1 << FRACTION]
    for wrong in (np.nan, np.inf, 4096.0):
        with pytest.raises(CapacityError, match="gradient of x"):
            fixed("x", np.float32([wrong]))


def test_rows_that_occur_several_times_are_summed():
    total = GradientSum()
    total.add_rows("x", (3, 1), np.array([2, 0, 2], np.int32), np.float32([[1], [2], [3]]))
    assert total.tensors["x"].ravel().tolist() == [2 << FRACTION, 0, 4 << FRACTION]


def test_every_epoch_reads_each_row_once_in_an_order_of_its_own():
    orders = [epoch_order(5, epoch, 40) for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    read = [row for step in range(1, 41) for row in batch_rows(5, step, 3, 40)]
    assert read == [*orders[0], *orders[1], *orders[2]]


def test_initial_draws_depend_on_seed_and_name_alone_and_are_spread_evenly():
    values = uniform(1, "x", (100, 100), 0.5)
    assert np.array_equal(values, uniform(1, "x", (100, 100), 0.5))
    assert not np.array_equal(values, uniform(1, "y", (100, 100), 0.5))
    assert np.abs(values).max() <= 0.5
    assert abs(values.mean()) < 0.01
    assert values.std() == pytest.approx(0.5 / 3**0.5, rel=0.03)


FORBIDDEN = {
    *("exp", "exp2", "log", "log2", "log1p", "expm1", "pow", "power", "sin", "cos", "tan", "tanh", "sum", "mean"),
    *("std", "var", "dot", "matmul", "einsum", "inner", "outer", "tensordot", "vdot", "linalg", "cumsum", "prod"),
    *("random", "average", "nansum", "trapezoid", "convolve", "fft", "reduce"),
}
ALLOWED = {
    ("arithmetic/sums.py", "reduce"),  # of int64
    ("draws.py", "prod"),  # of a shape
}


def _calls(tree: ast.AST):
    """Yield calls of NumPy's functions, methods of arrays with these names, products by @, and imports of math."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield "@"
        if isinstance(node, ast.ImportFrom) and node.module in ("math", "cmath", "random"):
            yield from (f"math.{one.name}" for one in node.names if one.name not in ("ceil", "isqrt", "prod", "sqrt"))
        if isinstance(node, ast.Import):
            yield from (
                one.name for one in node.names if one.name.split(".")[0] in ("math", "random", "scipy", "torch")
            )
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN:
            owner = node.value
            known = isinstance(owner, ast.Name) and owner.id in ("np", "numpy")
            nested = isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name) and owner.value.id == "np"
            if known or nested or node.attr in ("sum", "mean", "std", "dot", "prod", "cumsum", "var"):
                text = ast.unparse(owner)
                if text not in (
                    "self.products",
                    "self._integer",
                    "self._weights.products",
                    "products",
                    "fp32",
                    "s",
                    "self",
                ):
                    yield node.attr


def test_training_uses_nothing_from_libm_blas_or_numpys_sums():
    """These differ between machines: exp and log come from `intact.numerics`, products from `Products`."""
    assert list(_calls(ast.parse("np.exp(x); x @ y; x.sum(); np.linalg.norm(x); np.add.reduce(x)"))) != []
    folder, found = Path(intact.train.__file__).parent, set()
    for file in sorted(folder.rglob("*.py")):
        place = file.relative_to(folder).as_posix()
        if place.startswith(("data/", "export/")):
            continue
        found |= {(place, name) for name in _calls(ast.parse(file.read_text("utf-8")))}
    assert found <= ALLOWED


def test_derivatives_of_operations_use_none_of_them_either():
    import intact.models.ops

    for file in sorted(Path(intact.models.ops.__file__).parent.glob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name in ("float_step", "derivative", "_probabilities"):
                assert [name for name in _calls(node) if name != "dot"] == []
