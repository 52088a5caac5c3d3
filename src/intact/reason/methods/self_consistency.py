"""Self-consistency: a majority vote over many samples."""

from __future__ import annotations

from intact.reason import Problem, Steps, method
from intact.reason.limits import Samples
from intact.reason.parts.composing import composed, vote, write
from intact.reason.populations.transformers import sample, start


@composed("start sample vote", "measure")
@method("Wang et al. 2022, arXiv 2203.11171", group="samples and a vote", independent=True, temperature=0.7)
def self_consistency(problem: Problem, *, n: Samples = 16) -> Steps:
    """Sample n completions and return the majority answer.

    Ties go to the answer seen first. Completions without an answer do not vote.
    """
    texts = yield from sample(start(problem.start, n), write)
    return vote(problem, texts)
