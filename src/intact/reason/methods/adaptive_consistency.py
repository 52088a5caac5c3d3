"""Adaptive consistency."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from intact.errors import ParameterError
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.stopping import confident, decided, leaders, survival_probability
from intact.reason.aggregate.votes import vote
from intact.reason.ballot import elected
from intact.reason.exact import written
from intact.reason.limits import at_least, within

Rule = Callable[[Sequence[str | None], int, float], bool]

RULES: dict[str, Rule] = {
    "beta": lambda answers, left, threshold: confident(answers, threshold),
    "survival": lambda answers, left, threshold: (
        survival_probability(*leaders(answers), left) >= written(threshold, "a threshold")
    ),
    "certain": lambda answers, left, threshold: decided(answers, left),
}


@method("Aggarwal et al. 2023, arXiv 2305.11860", temperature=0.7)
def adaptive_consistency(
    problem: Problem, *, n: int = 40, threshold: float = 0.95, rule: str = "beta", batch: int = 1
) -> Steps:
    """Sample until the leading answer is unlikely to lose its lead; then the majority's answer.

    Parameters
    ----------
    n : int
        Samples at most.
    threshold : float
        The probability that is enough.
    rule : str
        Of what: beta, that the leader is the likelier answer; survival, that it still leads after all n; certain, no
        probability: that it cannot be reached any more.
    batch : int
        Samples that are drawn side by side between two looks; the paper draws one at a time.
    """
    at_least(1, n=n, batch=batch)
    within(0, 1, threshold=threshold)
    if rule not in RULES:
        raise ParameterError(f"a rule is one of {', '.join(RULES)}, got {rule!r}")
    samples: list[State] = []
    answers: list[str | None] = []
    while len(samples) < n:
        drawn = yield [Extend(problem.start)] * min(batch, n - len(samples))
        samples += drawn
        answers += problem.answers(drawn)
        if any(answer is not None for answer in answers) and RULES[rule](answers, n - len(samples), threshold):
            break
    return elected(vote(answers), answers, samples, samples=len(samples))
