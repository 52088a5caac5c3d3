"""Parameters that make no sense are named before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from intact.errors import ParameterError
from intact.reason import Problem, State, all_methods
from intact.reason.driver import Driver, Task
from intact.reason.limits import above, at_least, within
from support.markov import MarkovBackend


class Half:
    """Likes everything by half."""

    digest = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [0.5 for _ in states]


COUNTS = (
    "n",
    "k",
    "m",
    "steps",
    "batch",
    "window",
    "warmup",
    "stride",
    "sweeps",
    "expansions",
    "thinking",
    "width",
    "simulations",
    "checks",
    "candidates",
    "chains",
    "draft",
    "takeover",
    "patience",
    "tokens",
    "seconds",
)


@pytest.mark.parametrize("name", all_methods())
@pytest.mark.parametrize("count", [0, -1])
def test_counts_begin_at_one(name: str, count: int) -> None:
    method = all_methods()[name]
    for parameter in method.parameters:
        if parameter.name in COUNTS:
            backend = MarkovBackend()
            values: dict[str, Any] = {parameter.name: count}
            driver = Driver({"toy": backend}, scorer=Half, sampling={"max_tokens": 3})
            ((_, result),) = driver.solve([Task(method, Problem("p", "q"), values)])
            assert result.why == "failed", parameter.name
            assert result.error.startswith("ParameterError"), result.error
            assert parameter.name in result.error
            assert backend.made == 0


def test_bounds_belong_to_the_range() -> None:
    at_least(1, n=1, m=None)
    within(0, 1, share=0, other=1)
    above(0, heat=1e-9)
    for check, message in (
        (lambda: at_least(1, n=1, k=0), "k must be at least 1, got 0"),
        (lambda: within(0, 1, share=1.5), r"share must lie in \[0, 1\], got 1.5"),
        (lambda: within(0, 1, share=float("nan")), r"share must lie in \[0, 1\], got nan"),
        (lambda: above(0, heat=0.0), "heat must be above 0, got 0"),
        (lambda: above(0, heat=float("nan")), "heat must be above 0, got nan"),
    ):
        with pytest.raises(ParameterError, match=message):
            check()
