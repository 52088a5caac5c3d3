"""Self-consistency."""

from __future__ import annotations

from intact.reason import Answer, Extend, Problem, Steps, method


@method("Wang et al. 2022, arXiv 2203.11171", temperature=0.7)
def self_consistency(problem: Problem, *, n: int = 16) -> Steps:
    """Sample n texts; the answer that most of them give.

    Of answers with as many votes, the one that came first wins. Texts without an answer do not vote.

    Parameters
    ----------
    n : int
        Samples.
    """
    samples = yield [Extend(problem.start)] * n
    votes: dict[str, float] = {}
    for answer in problem.answers(samples):
        if answer is not None:
            votes[answer] = votes.get(answer, 0.0) + 1
    if not votes:
        return Answer(None)
    best = max(votes, key=lambda answer: votes[answer])
    chosen = next(state for state in samples if problem.read(state.text) == best)
    return Answer(best, votes, votes[best] / sum(votes.values()), chosen)
