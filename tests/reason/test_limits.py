"""Parameters that make no sense are named before anything is written."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.reason import Answer, CallMethod, Problem, State, Steps, all_methods, find, method
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.limits import Count, above, at_least, filled, one_of, within
from intact.reason.methods.archon import are_layers
from intact.reason.methods.proof_search import are_perspectives
from intact.reason.methods.text_selectors import are_words
from intact.reason.registry import Parameter, SharedParameters
from intact.reason.testing.toy import MarkovBackend


class Half:
    """Likes everything by half."""

    digest = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [0.5 for _ in states]


WRONG: dict[Any, tuple[Any, ...]] = {
    are_perspectives: ("", "likely, loud"),
    at_least: (-1, -math.inf, math.nan),
    within: (-1, 1 << 40, math.nan),
    above: (0, -1, math.nan),
    one_of: ("bset", ""),
    filled: ("",),
    are_layers: ("", "critique", "generate 2, dance"),
    are_words: ("", " , "),
}
"""What each check refuses, whatever its bounds."""
OTHER: dict[str, tuple[Any, ...]] = {
    "int": ("4", 2.5, True, None, [1]),
    "int | None": ("4", 2.5, True),
    "float": ("x", True, None, math.nan, math.inf, 10**400),
    "bool": (1, "true", None),
    "str": (1, None, b"x", ["x"]),
}
"""What is of another type than the declared one, or no number."""
FREE = {"backward", "check", "critique", "cue", "end", "feedback", "final", "hint", "prefill", "principles", "program"}
FREE |= {"refine", "revise", "satisfied", "table", "verify", "wait"}
FREE |= {"ask", "code", "constrain", "execute", "guide", "improve", "step", "think"}
FREE |= {"file", "follow_up", "formalise", "intermediate", "use", "with_passages"}
FREE |= {"aggregate", "models", "observe", "plan", "retry", "solve", "syzygy"}
FREE |= {"threshold"}  # of scores of any range
FREE |= {"compare", "rates", "select", "value", "vote"}
FREE |= {"again", "implement", "propose", "translate"}
FREE |= {"automation", "informal", "library", "prove", "sketch", "statement", "suggest"}
FREE |= {"ends", "finish"}
"""Texts that may be any."""


def wrong_values(parameter: Parameter) -> list[Any]:
    """Values that a parameter cannot have."""
    found = list(OTHER[parameter.type])
    if parameter.type.startswith("int"):
        found += (
            [-1] if any(check.args == (0,) for check in parameter.checks if isinstance(check, partial)) else [0, -1]
        )
    for check in parameter.checks:
        values = WRONG[check.func if isinstance(check, partial) else check]
        found += [value for value in values if parameter.kind is float or not isinstance(value, float)]
    return found + ["nobody"] * bool(parameter.names)


def known_scorer(name: str) -> Half:
    if name == "nobody":
        raise ParameterError(f"no scorer named {name!r}")
    return Half(name)


@pytest.mark.parametrize("name", all_methods())
def test_what_makes_no_sense_is_named_before_anything_is_written(name: str) -> None:
    method = all_methods()[name]
    for parameter in method.parameters:
        for value in wrong_values(parameter):
            backend = MarkovBackend()
            backends = {"toy": backend, "large": backend}
            driver = Driver(backends, services=Services(known_scorer), sampling={"max_tokens": 3})
            with pytest.raises(ParameterError, match="nobody" if value == "nobody" else parameter.name):
                list(driver.solve([MethodJob(method, Problem("p", "q"), {parameter.name: value})]))
            assert backend.made == 0, (parameter.name, value)


@pytest.mark.parametrize("name", all_methods())
def test_every_parameter_says_what_it_may_be(name: str) -> None:
    for parameter in all_methods()[name].parameters:
        assert parameter.type in OTHER, parameter
        assert parameter.kind is bool or parameter.checks or parameter.names or parameter.name in FREE, parameter
        if parameter.default is not None:
            assert parameter.read(parameter.default) == parameter.default


def test_a_whole_number_will_do_for_a_float_and_a_scorer_for_its_name() -> None:
    scorer = Half("mine")
    read = all_methods()["particle_filter"].read({"softness": 2, "scorer": scorer})
    assert read == {"softness": 2.0, "scorer": scorer}
    assert type(read["softness"]) is float
    assert all_methods()["majority_of_bests"].read({"m": None}) == {"m": None}
    assert type(all_methods()["best_of_n"].read({"n": np.int64(3)})["n"]) is int


def test_a_method_of_ones_own_declares_as_little_as_it_likes() -> None:
    @method("none")
    def mine(problem: Problem, *, n: Count = 3, bare=1, odd: Nowhere = 2, several: list[str] | None = None) -> Steps:  # type: ignore[no-untyped-def, name-defined]  # noqa: F821
        """Do nothing."""
        yield []
        return Answer(repr((n, bare, odd, several)))

    values = {"n": 1, "bare": "x", "odd": 0.5, "several": ["y"]}
    ((_, result),) = Driver({"toy": MarkovBackend()}).solve([MethodJob(mine, Problem("p", "q"), values)])
    assert result.answer.answer == "(1, 'x', 0.5, ['y'])"
    with pytest.raises(ParameterError, match="n must be at least 1, got 0"):
        mine(Problem("p", "q"), n=0)


@pytest.mark.parametrize(
    ("parameters", "message"), [({"n": 0}, "n must be"), ({"scorer": "nobody"}, "no scorer named 'nobody'")]
)
def test_a_called_method_is_judged_before_it_begins(parameters: dict[str, Any], message: str) -> None:
    @method("none")
    def calling(problem: Problem) -> Steps:
        """Call another."""
        return (yield CallMethod("best_of_n", problem, parameters))

    backend = MarkovBackend()
    driver = Driver({"toy": backend}, services=Services(known_scorer))
    ((_, result),) = driver.solve([MethodJob(calling, Problem("p", "q"), {})])
    assert result.why == "failed"
    assert message in result.error
    assert backend.made == 0


def test_a_table_of_methods_is_judged_before_the_pilot(tmp_path: Path) -> None:
    table = tmp_path / "methods.json"
    arms = [["self_consistency", {"n": 8}], ["self_consistency", {"n": 4}], ["best_of_n", {"reduction": "bset"}]]
    table.write_text(json.dumps({"pilot": 4, "edges": [0.5, 1.0], "arms": arms}))
    backend = MarkovBackend()
    driver = Driver({"toy": backend}, services=Services(Half))
    ((_, result),) = driver.solve([MethodJob(find("compute_optimal"), Problem("p", "q"), {"table": str(table)})])
    assert "reduction must be one of last, min, prod, mean, got 'bset'" in result.error
    assert backend.made == 0


def test_bounds_belong_to_the_range() -> None:
    at_least(1, n=1, m=None)
    within(0, 1, share=0, other=1)
    above(0, heat=1e-9)
    one_of(("a", "b"), way="b")
    for check, message in (
        (lambda: at_least(1, n=1, k=0), "k must be at least 1, got 0"),
        (lambda: within(0, 1, share=1.5), r"share must lie in \[0, 1\], got 1.5"),
        (lambda: within(0, 1, share=float("nan")), r"share must lie in \[0, 1\], got nan"),
        (lambda: above(0, heat=0.0), "heat must be above 0, got 0"),
        (lambda: above(0, heat=float("nan")), "heat must be above 0, got nan"),
        (lambda: at_least(0, heat=float("nan")), "heat must be at least 0, got nan"),
        (lambda: one_of(("a", "b"), way="c"), "way must be one of a, b, got 'c'"),
        (lambda: filled(end=""), "end must not be empty"),
    ):
        with pytest.raises(ParameterError, match=message):
            check()


@dataclass(frozen=True)
class Drawing(SharedParameters):
    """How much is drawn.

    Parameters
    ----------
    count : int
        The texts.
    mark : str
        What ends them.
    """

    count: Count = 3
    mark: str = "."


TWICE = Drawing(count=6)


def test_shared_parameters_are_those_of_each_method_that_takes_them() -> None:
    """With their help and checks, the method's own defaults, and one value for the method."""

    @method("a test")
    def drawn(problem: Problem, *, n: Count = 1, how: Drawing = TWICE) -> Steps:
        """Answer what it was given."""
        yield []
        return Answer(f"{n} {how.count} {how.mark}")

    told = [(one.name, one.type, one.default, one.help) for one in drawn.parameters]
    assert told == [("n", "int", 1, ""), ("count", "int", 6, "The texts."), ("mark", "str", ".", "What ends them.")]
    problem = Problem("p", "?")

    def answer(**given: Any) -> str | None:
        ((_, result),) = Driver({"main": MarkovBackend()}).solve([MethodJob(drawn, problem, given)])
        return result.answer.answer

    assert answer() == "1 6 ."
    assert answer(n=2, mark="!") == "2 6 !"
    with pytest.raises(ParameterError, match="count must be at least 1"):
        drawn(problem, count=0)
    with pytest.raises(ParameterError, match="drawn has no parameter 'how'"):
        drawn(problem, how=TWICE)


@pytest.mark.parametrize(("name", "texts", "conclusion"), [("path_top_p", 1, 0), ("saffron", 1, 0), ("hogwild", 2, 1)])
def test_the_user_s_max_tokens_bounds_whole_texts_that_methods_write_in_parts(
    name: str, texts: int, conclusion: int
) -> None:
    """Without it path_top_p and Saffron cut every text at 128 tokens; a value given to the method itself goes first."""

    def length(parameters: dict[str, Any]) -> int:
        services = Services(lambda _: Half("half"))
        driver = Driver({"toy": MarkovBackend({"": {"z": 1}})}, services=services, sampling={"max_tokens": 5})
        given = {"conclude": 1, "rules": "{question}", "finish": "So"} if name == "hogwild" else {"n": 1}
        ((_, result),) = driver.solve([MethodJob(find(name), Problem("p", "ask?"), given | parameters)])
        assert result.why == "done", result.error
        return result.answer.chosen.text.count("z")

    assert length({}) == 5 * texts + conclusion
    assert length({"tokens": 3}) == 3 * texts + conclusion
    assert find(name).parameter("tokens").default == 512
