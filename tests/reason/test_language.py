"""The values that methods work with, and what they say about themselves."""

from __future__ import annotations

import pytest

from intact._base.errors import ParameterError
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Extend, Piece, Problem, State, Steps, all_methods, find, method
from intact.reason.backends.base import Heat
from intact.reason.budget import Budget, Cost, Ledger
from intact.reason.driving.writing import ReadTexts
from intact.reason.testing.toy import MarkovBackend

WRITTEN = Piece("a.b", (97, 46, 98), (-1 << 24, -2 << 24, -3 << 24), model="")


def test_a_state_is_the_sum_of_its_pieces() -> None:
    state = State("ask", ("p", 0), (WRITTEN, Piece(" so "), WRITTEN))
    assert state.text == "a.b so a.b"
    assert state.last == "a.b"
    assert state.tokens == (97, 46, 98) * 2
    assert state.length == 6
    assert state.logprob == -12
    assert state.mean_logprob == -2
    assert state.logprobs == tuple(-i * LOGPROB_SCALE for i in (1, 2, 3, 1, 2, 3))
    assert State("ask", ("p",)).mean_logprob == 0


def test_text_after_an_end_takes_the_end_token_away() -> None:
    ended = State("ask", ("p", 0), (Piece("hm", (104, 109, 2), (0, 0, -7), ((), (), (("x", 1),)), ""),), "end")
    further = ended.append("Wait")
    assert further.tokens == (104, 109)
    assert further.logprobs == (0, 0)
    assert further.top == ((), ())
    assert further.text == "hmWait"
    assert not further.ended
    assert ended.tokens == (104, 109, 2)  # a state never changes
    cut = State("ask", ("p", 0), (WRITTEN,), "length").append("!")
    assert cut.tokens == WRITTEN.tokens


def test_another_prompt_stays_at_its_place_in_the_tree() -> None:
    asked = State("ask", ("p", 0, 3), (WRITTEN,)).ask([{"role": "user", "content": "right?"}])
    assert asked == State((("user", "right?"),), ("p", 0, 3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("one", ["one"]),
        ("one.two", ["one.", "one.two"]),
        ("one.two.", ["one.", "one.two."]),
        ("one..", ["one.", "one.."]),
    ],
)
def test_prefixes_end_where_steps_end(text: str, expected: list[str]) -> None:
    state = State("ask", ("p",), (Piece(text),) if text else ())
    prefixes = state.prefixes(".")
    assert [prefix.text for prefix in prefixes] == expected
    assert prefixes[-1] is state


def test_keys_of_problems_and_of_called_methods_differ() -> None:
    one, other = Problem("a", "x"), Problem("b", "x")
    called = Problem("a", "x", branch=("a", "c0"))
    keys = {p.key(*path) for p in (one, other, called) for path in (("resample", 0), ("resample", 1), ("draw", 0))}
    assert len(keys) == 9
    assert Problem("a", "x", seed=1).key("draw") != one.key("draw")
    assert one.key("draw") == Problem("a", "another prompt").key("draw")


def test_budgets_are_read_as_people_write_them() -> None:
    budget = Budget.parse("tokens=200k, operations=1.5T,seconds=2.5,runs=3")
    assert budget == Budget(tokens=200_000, operations=1_500_000_000_000, seconds=2.5, runs=3)
    assert Budget.parse("") == Budget()
    assert budget.divide(7) == Budget(tokens=28_571, operations=214_285_714_285, seconds=2.5, runs=0)
    for wrong in ("tokens", "tokens=", "tokens=-1", "hopes=3", "tokens=1e5", "tokens=3x"):
        with pytest.raises(ParameterError, match="a budget must have a form such as"):
            Budget.parse(wrong)
    assert Budget.parse("tokens=1.001k,operations=0.29G") == Budget(tokens=1001, operations=290_000_000)
    for part in ("tokens=0.5", "runs=1.0005k"):
        with pytest.raises(ParameterError, match="must be a whole number"):
            Budget.parse(part)
    for wrong_value in (-1, 1.5, True, float("nan")):
        with pytest.raises(ParameterError, match="a budget's tokens must be a whole number of at least 0"):
            Budget(tokens=wrong_value)  # type: ignore[arg-type]
    assert Budget(tokens=0).as_dict() == {"tokens": 0}  # nothing is not the same as no cap


def test_a_ledger_never_has_less_than_nothing() -> None:
    ledger = Ledger(Budget(tokens=10))
    ledger.set_aside(Cost(tokens=7))
    assert ledger.left("tokens") == 3
    assert not ledger.fits(Cost(tokens=4))
    assert ledger.rest(2) == Budget(tokens=1)
    ledger.settle(Cost(tokens=7), Cost(tokens=2, scores=5))
    assert ledger.left("tokens") == 8
    assert ledger.spent == Cost(tokens=2, scores=5)
    assert not Ledger(Budget()).capped


def test_each_text_is_read_once_by_each_model() -> None:
    backend, reader = MarkovBackend(), ReadTexts()
    start = State("ask", ("p",))
    written = State("ask", ("p", 0), (WRITTEN, Piece("so")))

    def unread(state: State, model: str = "") -> int:
        context = reader.look(backend, model, state, set())
        reader.read(context.nodes)
        return context.unread

    assert unread(start) == 3
    assert unread(start) == 0
    assert unread(written) == 2  # what it wrote itself is free
    assert unread(written) == 0
    assert unread(State("ask", ("p", 1), (WRITTEN, Piece("no")))) == 2
    assert unread(written, "large") == 3 + 3 + 2
    assert unread(State("other", ("p",))) == 5
    context = ReadTexts().look(backend, "", written, set())
    assert context.length == 8
    assert context.operations == backend.operations(0, 3) + backend.operations(6, 2)


def test_a_heat_ends_with_the_last_winner() -> None:
    heat = Heat(3, 2)
    assert [heat.advance(i) for i in range(3)] == [False] * 3
    heat.leave(1, True)
    assert heat.limit is None
    assert not heat.advance(0)
    assert not heat.may_move(0)
    assert heat.may_move(2)
    heat.advance(2)
    heat.leave(2, True)
    assert heat.limit == 2
    assert heat.over(0)
    assert not heat.may_move(0)


def test_a_method_tells_what_it_takes() -> None:
    @method("somebody 2020", temperature=0.3)
    def described(problem: Problem, *, n: int = 3, word: str = "a") -> Steps:
        """Do something.

        More of it.

        Parameters
        ----------
        n : int
            How many,
            and more.
        word : str
            Which.
        """
        yield Extend(problem.start)
        raise AssertionError

    assert (described.name, described.line, described.paper) == ("described", "Do something.", "somebody 2020")
    assert [tuple(parameter.as_dict().values()) for parameter in described.parameters] == [
        ("n", "int", 3, "How many, and more."),
        ("word", "str", "a", "Which."),
    ]
    assert described.sampling == {"temperature": 0.3}
    with pytest.raises(ParameterError, match="the paper must be a string: decorate with @method"):
        method(described.function)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="described has no parameter 'm'; it has n, word"):
        described(Problem("p", "x"), m=1)


def test_methods_are_found_by_name() -> None:
    for name, found in all_methods().items():
        assert found.name == name
        assert find(name) is found
    problem = r"no method named 'none': did you mean \w+, \w+ or \w+\? intact methods lists all"
    with pytest.raises(ParameterError, match=problem):
        find("none")
