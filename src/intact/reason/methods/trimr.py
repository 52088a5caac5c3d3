"""TrimR: thinking ends as soon as the answers that it would give agree, or when it goes round in circles."""

from __future__ import annotations

from intact.reason import Answer, Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Delimiter, Natural
from intact.reason.methods.budget_forcing import FINAL
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.text.thinking import THINK_TAGS


@method("Lin et al. 2025, arXiv 2505.17155", group="races, and how long a text thinks", temperature=0.6, top_p=0.95)
def trimr(
    problem: Problem,
    *,
    steps: Count = 64,
    agree: Count = 3,
    least: Natural = 0,
    answering: Count = 32,
    delimiter: Delimiter = "\n\n",
    cue: str = THINK_TAGS.closes + FINAL,
) -> Steps:
    """Think step by step, see after each step what the answer would be, and stop when some in a row are the same.

    Parameters
    ----------
    steps : int
        Steps of thought at most; then the answer is forced.
    agree : int
        Answers in a row that must be the same.
    least : int
        Tokens of thought before the first answer is looked at.
    answering : int
        Tokens of an answer that is looked at, at most.
    cue : str
        What is added to the thought to have its answer.
    """
    thought, forced, taken = problem.start, None, 0
    answers: list[str | None] = []
    seen: set[str] = set()
    with until_spent() as spent:
        while taken < steps:
            thought = yield Extend(thought, stop=(delimiter,))
            if thought.ended or (step := thought.last.strip()) in seen:
                break
            seen |= {step} - {""}  # an empty line is no circle
            taken += 1
            if thought.length >= least:
                forced = yield Extend(thought.append(cue), max_tokens=answering, temperature=0.0)
                answers.append(problem.answer(forced))
                if len(answers) >= agree and answers[-1] is not None and len(set(answers[-agree:])) == 1:
                    return _taken(problem, forced, thought, answers)
        if not thought.ended:
            forced = yield Extend(thought.append(cue), max_tokens=answering, temperature=0.0)
            return _taken(problem, forced, thought, answers)
    last = thought if thought.ended or forced is None else forced
    return or_spent(_taken(problem, last, thought, answers), spent)


def _taken(problem: Problem, state: State, thought: State, answers: list[str | None]) -> Answer:
    return take(problem, state, turns=[answers], thought=thought.length)
