"""Estimate values of unfinished texts: sample texts, continue each from the end of each step, and grade."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from intact._base.errors import ParameterError
from intact.reason import Answer, Extend, Problem, State, Steps, method
from intact.reason.backends.base import Backend
from intact.reason.driving.services import MethodJob
from intact.solving.run import check_tokenizer, solve_all, takes_conversations, task_sampling
from intact.tasks.choose import Chosen
from intact.tasks.score.value.prefixes import PrefixCount, PrefixTable, ValuedProblem, digest_of
from intact.tasks.task import Item, Style, Task


class ContinuedTexts(NamedTuple):
    """A problem's right answer, the verdicts on its texts, and the continuations of each of their prefixes."""

    item: Item
    answer: str
    right: list[bool]
    prefixes: dict[str, PrefixCount]


@method("none", temperature=0.7)
def continued(problem: Problem, *, n: int = 4, continuations: int = 4, delimiter: str = "\n\n") -> Steps:
    """Sample n texts, and continue each of their prefixes to the end.

    Prefixes end with a step. Continuations draw independently of the texts and of any search.

    Parameters
    ----------
    n : int
        Number of texts, the same ones as every method that samples from the prompt under this seed.
    continuations : int
        Number of continuations of each prefix.
    delimiter : str
        The string that ends a step.
    """
    states = yield [Extend(problem.start)] * n
    prefixes: dict[str, State] = {}
    steps: list[int] = []
    for state in states:
        for place, prefix in enumerate(state.prefixes(delimiter)[:-1], 1):
            if prefix.text not in prefixes:
                prefixes[prefix.text] = State(prefix.prompt, (*state.branch, "v", place), prefix.pieces, why="stop")
                steps.append(place)
    ends = []
    if prefixes:
        ends = yield [Extend(prefix) for prefix in prefixes.values() for _ in range(continuations)]
    return Answer("continued", details={"states": states, "prefixes": list(prefixes), "steps": steps, "ends": ends})


def continue_prefixes(
    backend: Backend,
    task: Task | Chosen,
    items: Sequence[Item],
    parameters: Mapping[str, Any],
    *,
    sampling: Mapping[str, Any] | None = None,
    seed: int = 0,
    journal: Path | None = None,
) -> Generator[ContinuedTexts, None, None]:
    """Write and grade the texts and continuations of problems, or take them from the journal.

    Parameters
    ----------
    task : Task or Chosen
        A task whose right answers all have one canonical form.
    parameters : mapping
        Those of `continued`.

    Raises
    ------
    ParameterError
        If the task finds an answer right that is not the right one in canonical form, which is all that the scorer
        knows.
    """
    chosen = Chosen.of(task)
    task = chosen.task
    wanted = [_canonical(chosen, item) for item in items]
    check_tokenizer([chosen], {"main": backend})
    style: Style = chosen.style or ("chat" if takes_conversations(backend) else "base")
    jobs = [MethodJob(continued, chosen.problem(item, style, seed), dict(parameters)) for item in items]
    for number, result in solve_all(
        {"main": backend}, jobs, sampling=task_sampling(task, style == "chat", sampling), journal=journal
    ):
        if result.why != "done":
            raise ParameterError(f"{items[number].id} could not be continued: {result.error}")
        problem, details = jobs[number].problem, result.answer.details
        right = [_is_right(chosen, items[number], wanted[number], one) for one in problem.answers(details["states"])]
        good = [_is_right(chosen, items[number], wanted[number], one) for one in problem.answers(details["ends"])]
        size = len(good) // max(1, len(details["prefixes"]))
        counts = {
            digest_of(text): PrefixCount(sum(good[i * size : (i + 1) * size]), size, steps)
            for i, (text, steps) in enumerate(zip(details["prefixes"], details["steps"], strict=True))
        }
        yield ContinuedTexts(items[number], wanted[number], right, counts)


def _canonical(chosen: Chosen, item: Item) -> str:
    """Return the right answer as texts' answers are read."""
    found = chosen.read(item, item.answer, False)
    if found is None or not chosen.task.grade(item, found):
        raise ParameterError(f"the right answer of {item.id} has no canonical form: {item.answer!r:.60}")
    return found


def _is_right(chosen: Chosen, item: Item, wanted: str, answer: str | None) -> bool:
    if bool(chosen.task.grade(item, answer)) != (answer == wanted):
        raise ParameterError(
            f"values of prefixes need a task whose right answers have one form, but {item.id} has {wanted!r:.40} "
            f"and {answer!r:.40}"
        )
    return answer == wanted


def table_of(found: Sequence[ContinuedTexts], continuations: int, origin: Mapping[str, Any]) -> PrefixTable:
    """Return the table of problems' prefixes, in the problems' order."""
    right = sum(sum(one.right) for one in found)
    rate = (right + 1) / (sum(len(one.right) for one in found) + 2)  # never 0 or 1
    ordered = sorted(found, key=lambda one: (len(one.item.id), one.item.id))
    problems = {one.item.id: ValuedProblem(one.answer, one.prefixes) for one in ordered}
    return PrefixTable(continuations, rate, problems, dict(origin))
