"""From results of methods to records: what is graded, and what a record holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact.evaluate.plan import Plan
from intact.evaluate.results import ItemRecord
from intact.evaluate.work import How, work
from intact.reason import Extend, Method, Problem, Steps, find, method
from intact.solving import solve_items
from intact.tasks.choose import choose
from support.script import Reply, ScriptBackend

CHOSEN = choose("gsm_ranges:size=2")
ITEMS = tuple(CHOSEN.load(2))
RIGHT = {item.question: item.answer for item in ITEMS}


def right_answer(prompt: str, text: str, place: int) -> str:
    """Answer every problem right."""
    return "The answer is " + next(answer for question, answer in RIGHT.items() if question in prompt)


def records(
    chosen: Method, parameters: Mapping[str, Any] | None = None, reply: Reply = right_answer, **fields: Any
) -> list[ItemRecord]:
    """Evaluate two problems by a method, with a model that follows a script."""
    plan = Plan((CHOSEN,), (ITEMS,), chosen, parameters or {}, {"max_tokens": 400}, **fields)
    done = list(work({"toy": ScriptBackend(reply)}, plan, list(plan.units()), How()))
    return [one.record for one in sorted(done, key=lambda one: one.unit)]


@method("none")
def raising(problem: Problem) -> Steps:
    """Write a text, and raise."""
    yield Extend(problem.start)
    raise ValueError("a bug in the method")


def test_a_method_that_raised_is_never_graded_right() -> None:
    for record in records(raising):
        assert (record.why, record.answer, record.correct) == ("failed", None, False)
        assert (record.chosen, record.confidence) == (None, None)
        assert "a bug in the method" in record.error
        assert [sample.correct for sample in record.samples] == [True]
    graded = list(solve_items({"toy": ScriptBackend(right_answer)}, raising, CHOSEN.task, ITEMS, {}))
    assert [one.correct for one in graded] == [False, False]
    assert all(record.correct for record in records(find("chain_of_thought"))), "the same texts by one that ends"
