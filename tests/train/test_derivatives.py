"""Derivatives against differences: of each operation's float32 step, and of whole models' loss by the engine."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.models import ARCHITECTURES
from intact.models.aspects.derivative import LOGITS
from intact.models.aspects.op import Op
from intact.models.aspects.tables import Buffer
from intact.models.ops import Adapt, Attend, Embed, Gate, Linear, Logits, LowRank, Multiply, Norm, Rope, Steer, Target
from intact.models.program import Program
from intact.numerics.rope import rotation
from intact.train.arithmetic.passes import LayerPass, Learned
from intact.train.arithmetic.products import DEFINITION, Products, tiers
from intact.train.arithmetic.sums import FRACTION, GradientSum
from intact.train.arithmetic.weights import FloatWeights, float_tensor
from intact.train.base import check_differentiable
from intact.train.loop.supervised import Trainer
from intact.train.pieces import total_size
from support.training import example, settings, tiny_base

COUNT, WIDTH = 6, 32
rng = np.random.default_rng(5)
TENSORS = {
    "square": rng.standard_normal((WIDTH, WIDTH)) / 4,
    "down": rng.standard_normal((4, WIDTH)) / 4,
    "up": rng.standard_normal((WIDTH, 4)) / 4,
    "table": rng.standard_normal((40, WIDTH)),
    "gain": 1 + rng.standard_normal(WIDTH) / 5,
    "half gain": 1 + rng.standard_normal(WIDTH // 2) / 5,
    "vector": rng.standard_normal(WIDTH),
    "sinks": rng.standard_normal(2),
}
ATTEND = Attend("a", "b", "c", "y", 0, 2, 1, WIDTH // 2, Fraction(1, 4))
CASES: dict[str, Op] = {
    "norm": Norm("a", "y", "gain", 1e-5),
    "norm added": Norm("a", "y", "gain", 1e-5, accumulate=True),
    "norm of heads": Norm("a", "y", "half gain", 1e-5, heads=2),
    "norm of groups": Norm("a", "y", "gain", 1e-5, groups=2, offset=1.0, factor=Fraction(3, 2)),
    "layer norm": Norm("a", "y", "gain", 1e-5, centered=True, bias="vector"),
    "linear": Linear("a", (Target("y", "square", "vector"), Target("b", "square", accumulate=True))),
    "rope": Rope("a", 0, 2, WIDTH // 2, True),
    "rope by halves": Rope("a", 0, 2, WIDTH // 2, False),
    "attention": ATTEND,
    "attention in a window": replace(ATTEND, window=3),
    "attention with a soft cap": replace(ATTEND, cap=Fraction(2)),
    "attention with sinks": replace(ATTEND, sinks="sinks"),
    "silu": Gate("a", "b", "y", "silu"),
    "gelu": Gate("a", "b", "y", "gelu"),
    "sigmoid": Gate("a", "b", "y", "sigmoid"),
    "relu alone": Gate("a", None, "y", "relu"),
    "multiply": Multiply("a", "y", factor=Fraction(7, 5), start=4),
    "adapt": Adapt("a", "y", (LowRank("down", "up"),)),
    "steer": Steer("y", ("vector",)),
    "logits": Logits("a", "table"),
    "logits with a soft cap": Logits("a", "table", Fraction(3)),
    "embed": Embed("y", "table", Fraction(3, 2)),
}


def program(op: Op) -> Program:
    """Return a program of one operation; `b` and `c` are narrow keys and values where it attends."""
    keys = WIDTH // 2 if isinstance(op, Attend) else WIDTH
    buffers = {
        "a": Buffer(WIDTH),
        "b": Buffer(keys),
        "c": Buffer(keys),
        "y": Buffer(WIDTH - 4 if isinstance(op, Multiply) else WIDTH),
    }
    tensors: dict[str, Tensor] = {name: float_tensor(name, np.float32(values)) for name, values in TENSORS.items()}
    turns = rotation(10000.0, WIDTH // 2, {})
    return Program("test", buffers, (op,), tensors, (turns,), 1, 1, WIDTH // 2, 40, 64)


def run(op: Op, rows, total=None, learned=(), tensors=None):
    """Run an operation forwards; return the pass."""
    whole = program(op)
    if tensors:
        whole = replace(whole, tensors=dict(whole.tensors) | {n: float_tensor(n, v) for n, v in tensors.items()})
    weights = FloatWeights(whole, Products())
    tokens = np.array([3, 1, 4, 1, 5, 9], np.int32)
    found = LayerPass(weights, {name: Learned(name) for name in learned}, total or GradientSum(), tokens, 0)
    found.rows |= {name: values.astype(np.float32) for name, values in rows.items()}
    found.forward([op])
    return found


def written(op: Op) -> list[str]:
    return [LOGITS] if isinstance(op, Logits) else sorted(op.writes())


@pytest.mark.parametrize("case", CASES)
def test_an_operation_passes_the_gradient_that_differences_of_its_results_show(case):
    op = CASES[case]
    random = np.random.default_rng(len(case))
    rows = {
        n: random.standard_normal((COUNT, b.width)) for n, b in program(op).buffers.items() if n in op.reads() | {"y"}
    }
    goals = dict.fromkeys(written(op))
    learned = [] if isinstance(op, Multiply) else [n for n in TENSORS if n != "sinks"]
    total = GradientSum()
    there = run(op, rows, total, learned)
    for name in goals:
        goals[name] = random.standard_normal(there.rows[name].shape).astype(np.float32)
        there.add(name, goals[name])
    there.backward([op])
    shift, used = 2.0**-9, [n for n in op.reads() if n not in op.sets()]
    directions = {name: random.standard_normal(rows[name].shape) for name in used}
    bent = {name: random.standard_normal(TENSORS[name].shape) for name in total.tensors}

    def value(sign: int) -> float:
        moved = {name: x + sign * shift * directions.get(name, 0) for name, x in rows.items()}
        tensors = {name: np.float32(TENSORS[name] + sign * shift * bent[name]) for name in bent}
        out = run(op, moved, tensors=tensors)
        return sum(float((np.float64(out.rows[name]) * goal).sum()) for name, goal in goals.items())

    slope = (value(1) - value(-1)) / (2 * shift)
    expected = sum(float((there.gradient(name) * directions[name]).sum()) for name in used)
    expected += sum(float((np.ldexp(np.float64(total.tensors[name]), -FRACTION) * bent[name]).sum()) for name in bent)
    assert used or bent
    assert expected == pytest.approx(slope, rel=5e-3, abs=2e-3)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "granite", "olmo2", "glm4"])
def test_a_models_gradient_is_that_of_the_engines_own_loss_in_fp32(tmp_path, architecture):
    """Move an adapter along a random direction: the engine's loss changes as the gradient says."""
    base, row = tiny_base(tmp_path, architecture, layers=2), example(1)
    trainer = Trainer(base, [row], settings(profile="fp32", batch=1, parameters={"name": "lora", "rank": 4}))
    state, random = trainer.start(), np.random.default_rng(2)
    state = replace(
        state, tensors={n: np.float32(random.standard_normal(w.shape) / 16) for n, w in state.tensors.items()}
    )
    size = total_size(trainer.settings.loss, [row])
    sums = trainer.gradient(state, [0], size).total.tensors
    bent = {name: random.standard_normal(w.shape) for name, w in state.tensors.items()}
    expected = sum(float((np.ldexp(np.float64(sums[n]), -FRACTION) * bent[n]).sum()) for n in bent)
    shift = 2.0**-10

    def value(sign: int) -> float:
        moved = {n: np.float32(w + sign * shift * bent[n]) for n, w in state.tensors.items()}
        return trainer.held_out(replace(state, tensors=moved), [row])[0] / 2.0**24 / size

    assert expected == pytest.approx((value(1) - value(-1)) / (2 * shift), rel=2e-2, abs=2e-2)
    trainer.close()


def test_all_tiers_give_the_same_products():
    random = np.random.default_rng(3)
    x, y = (np.float32(random.standard_normal((5, 40))) for _ in range(2))
    found = {Products(tier).dot(x, y).tobytes() for tier in tiers()}
    assert DEFINITION in tiers()
    assert len(found) == 1


def test_models_with_operations_without_a_derivative_are_refused_by_name(tmp_path):
    with pytest.raises(ParameterError, match=r"training has no derivative of .*state-space layers"):
        tiny_base(tmp_path, "mamba")


def test_every_architecture_is_either_differentiable_or_refused_with_a_reason(tmp_path):
    from intact.checkpoints.formats import open_checkpoint
    from intact.models import build_program
    from support.tiny import write_tiny

    for name in ("llama", "phi3"):
        check_differentiable(build_program(open_checkpoint(write_tiny(tmp_path / f"{name}.gguf", name))))
    for name in ("olmoe", "mamba2", "bert"):
        assert name in ARCHITECTURES
        program = build_program(open_checkpoint(write_tiny(tmp_path / f"{name}.gguf", name)))
        with pytest.raises(ParameterError, match=f"training .*{name}"):
            check_differentiable(program)
