"""PIR: remove steps that the answer does not depend on, and write the conclusion again without them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Extend, Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Filled, Samples, Share
from intact.reason.methods.text_selectors import Markers, marker_pattern
from intact.reason.parts.forcing import force
from intact.reason.parts.likeliest import check_likeliest
from intact.reason.parts.prompting import whole
from intact.reason.parts.stepwise import or_spent, until_spent

MARKERS: Final = (
    "verify, check, double-check, confirm, alternatively, another way, another approach, different method, wait, "
    "actually, mistake, correct that, hold on"
)
"""Words that mark steps that verify, try another method, or make a correction; the list is this package's own."""
SPARE: Final = 4
"""Number of tokens that an answer may have in addition to one per byte."""


def divide(text: str, delimiter: str) -> list[str]:
    """Split text into steps, each with the delimiter that ends it; blank steps are joined to the preceding one."""
    steps: list[str] = []
    for part in re.split(f"(?<={re.escape(delimiter)})", text):
        if steps and not part.strip():
            steps[-1] += part
        elif part:
            steps.append(part)
    return steps


def importances(problem: Problem, chains: Sequence[str], answer: str) -> Part[list[float | None]]:
    """Return, for each chain after the first, how much less probable it makes an answer than the first chain does.

    That is `log(PPL(answer | chain) / PPL(answer | first))`: the difference of the mean log-probabilities of the
    answer's tokens, without an end token. None if the answer was tokenised differently.
    """
    starts = [problem.start.append(chain, special=False) for chain in chains]
    written = yield from force(starts, answer, len(answer.encode()) + SPARE)
    first, *others = [None if state is None else _tokens(state) for state in written]
    return [
        None if first is None or other is None or other[0] != first[0] else _mean(first[1]) - _mean(other[1])
        for other in others
    ]


def _tokens(state: State) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the most recently generated tokens and their log-probabilities, without an end token."""
    last = state.pieces[-1]
    count = len(last.tokens) - (state.why == "end")
    return last.tokens[:count], last.logprobs[:count]


def _mean(logprobs: Sequence[int]) -> float:
    return sum(logprobs) / (LOGPROB_SCALE * max(1, len(logprobs)))


def least_important(values: Sequence[float | None], share: float) -> set[int]:
    """Return the indices of the smallest `share` of the known values; ties go to the later values."""
    known = [i for i, value in enumerate(values) if value is not None]
    order = sorted(known, key=lambda i: (values[i], -i))
    return set(order[: int(len(known) * share)])


@method("Xiao et al. 2025, arXiv 2505.19187", group="samples and a vote", temperature=0.7)
def step_pruning(
    problem: Problem,
    *,
    n: Samples = 4,
    share: Share = 0.3,
    markers: Markers = MARKERS,
    cue: Filled = "The answer is ",
    delimiter: Filled = "\n",
) -> Steps:
    """Sample n completions, cut the checks and corrections that matter least, rewrite the conclusions, and vote.

    Parameters
    ----------
    share : float
        Share of a completion's marked steps that are cut, beginning with those that matter least for the answer.
    markers : str
        Words that mark a step that may be cut, separated by commas.
    cue : str
        Text placed before the answer when its probability is measured.
    delimiter : str
        String that ends a step; the last step of a completion is its conclusion, which is rewritten.
    """
    pattern = marker_pattern(markers)
    texts = yield [Extend(problem.start)] * n
    check_likeliest(texts)
    cuts, found = [0] * n, [list[float | None]() for _ in range(n)]
    with until_spent() as spent:
        for number, text in enumerate(list(texts)):
            answer, steps = problem.answer(text), divide(text.text, delimiter)[:-1]
            marked = [i for i, step in enumerate(steps) if pattern.search(step)]
            if answer is None or not marked:
                continue
            chains = ["".join(steps)] + ["".join(steps[:i] + steps[i + 1 :]) for i in marked]
            found[number] = yield from importances(problem, [chain + cue for chain in chains], answer)
            gone = {marked[place] for place in least_important(found[number], share)}
            if gone:
                kept = "".join(step for i, step in enumerate(steps) if i not in gone)
                concluded = yield Extend(problem.start.append(kept, special=False))
                if whole(problem, concluded):
                    texts[number], cuts[number] = concluded, len(gone)
    return or_spent(elect(problem, texts, cut=cuts, importances=found), spent)
