"""What methods and driver do in Python for each token, counted: benchmarks/reasoning_overhead.py times the same."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.reason import Problem, State, all_methods
from intact.reason.aggregate.fixed import ONE, UNIT, exp, fixed, ln
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.parts.choice import Arm, Policy, pilot_arm
from intact.reason.testing.toy import MarkovBackend
from intact.tools.sandbox import protection
from support.effort import effort

METHODS = {name: one for name, one in all_methods().items() if "tool proof" not in one.uses}
"""All but those that wait for a proof assistant."""
FEW = {
    "n": 4,
    "k": 3,
    "m": 2,
    "simulations": 4,
    "width": 2,
    "steps": 2,
    "iterations": 2,
    "warmup": 2,
    "rounds": 2,
    "nudger": "large",
}
LENGTHS = "max_tokens", "thinking", "tokens"
MOST = 64
"""Lines and C calls for a token: some 25 µs, where the smallest model takes a thread 1,400 µs."""

EACH = dict.fromkeys(("entropy_decoding", "path_top_p", "saffron"), 1500) | {"hogwild": 80}
"""The same for methods that decide at each token, and so make a request of each: some 600 µs; or of every 16th."""


ENDLESS = {"": dict.fromkeys("bcdfghjklmnpqrstvwxz", 1)}
"""After any letter any of these, and never an end."""


class Sums:
    """A reward in (0, 1) for each text."""

    name, digest = "sums", ""

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [(sum(map(ord, state.text)) % 97 + 1) / 99 for state in states]


def spent(name: str, parameters: dict[str, Any], length: int) -> tuple[int, int]:
    """The effort of a method, and the tokens that were made."""
    own = [parameter.name for parameter in METHODS[name].parameters]
    values = parameters | {key: length for key in LENGTHS if key in own}
    backends = {model: MarkovBackend(ENDLESS) for model in ("toy", "large")}
    driver = Driver(backends, services=Services(lambda _: Sums()), sampling={"max_tokens": length, "temperature": 1.0})
    problem = Problem("p", "ask 3 and 4?", lambda text: text[-1:])
    results = []
    counted = effort(lambda: results.extend(driver.solve([MethodJob(METHODS[name], problem, values)])))
    assert results[0][1].why == "done", results[0][1].error
    return counted, sum(backend.made for backend in backends.values())


@pytest.mark.parametrize("name", METHODS)
def test_longer_texts_cost_methods_and_driver_little_for_each_token(name: str, tmp_path: Path) -> None:
    if "programs" in all_methods()[name].uses and protection().kind == "none":
        pytest.skip("nothing here keeps programs in")
    parameters: dict[str, Any] = {p.name: FEW[p.name] for p in METHODS[name].parameters if p.name in FEW}
    if name == "compute_optimal":
        arms = (Arm.of("uct_search", {"scorer": "sums"}), Arm.of("first_finish", {"n": 3}), pilot_arm(3))
        Policy(3, (0.5, 0.9), arms).write(tmp_path / "table.json")
        parameters["table"] = str(tmp_path / "table.json")
    spent(name, parameters, 4)  # imports and tables
    short, long = spent(name, parameters, 6), spent(name, parameters, 24)
    assert long[1] > short[1]
    assert (long[0] - short[0]) / (long[1] - short[1]) < EACH.get(name, MOST)


@given(st.lists(st.floats(-60, 0), min_size=1, max_size=50))
def test_exponentials_are_those_of_the_definition(values: list[float]) -> None:
    units = fixed(values)
    for unit, power in zip(units.tolist(), exp(units).tolist(), strict=True):
        assert abs(power - math.exp(unit / UNIT) * ONE) < 3


@given(st.lists(st.integers(1, 2 * ONE - 1), min_size=1, max_size=50))
def test_logarithms_are_those_of_the_definition(values: list[int]) -> None:
    for value, logarithm in zip(values, ln(np.array(values)).tolist(), strict=True):
        assert abs(logarithm - math.log(value / ONE) * UNIT) < 1


def test_ends_of_the_ranges() -> None:
    assert exp(np.array([0, 1, 1 << 40, -(1 << 60), -(32 << 24), (-32 << 24) + 1])).tolist() == [ONE] * 3 + [0] * 3
    assert ln(np.array([1, ONE, 2 * ONE - 1])).tolist() == [
        round(-31 * math.log(2) * UNIT),
        0,
        round(math.log(2) * UNIT),
    ]
    assert float(Fraction(int(exp(np.int64(-UNIT))), ONE)) == pytest.approx(math.exp(-1), abs=2**-30)
