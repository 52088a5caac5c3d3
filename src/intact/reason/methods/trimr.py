"""TrimR: thinking ends as soon as the probed answers agree, or when it starts to repeat itself."""

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
    """Think step by step, probe the answer after each step, and stop when several probes in a row agree.

    Parameters
    ----------
    steps : int
        Maximum number of thinking steps; after that an answer is forced.
    agree : int
        Number of consecutive answers that must be the same.
    least : int
        Minimum number of thinking tokens before the first probe.
    answering : int
        Maximum number of tokens of a probed answer.
    cue : str
        Text appended to the thinking to obtain an answer.
    """
    thought, forced, taken = problem.start, None, 0
    answers: list[str | None] = []
    seen: set[str] = set()
    with until_spent() as spent:
        while taken < steps:
            thought = yield Extend(thought, stop=(delimiter,))
            if thought.ended or (step := thought.last.strip()) in seen:
                break
            seen |= {step} - {""}  # an empty line is not a repetition
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
