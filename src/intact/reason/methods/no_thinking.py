"""NoThinking: skip the thinking with a prefilled thinking block, and vote."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Samples
from intact.text.thinking import THINK_TAGS

PREFILL = f"{THINK_TAGS.opens}\nOkay, I think I have finished thinking.\n{THINK_TAGS.closes}\n\n"


@method("Ma et al. 2025, arXiv 2504.09858", group="samples and a vote", independent=True, temperature=0.6, top_p=0.95)
def no_thinking(problem: Problem, *, n: Samples = 16, prefill: str = PREFILL) -> Steps:
    """Prefill a finished thinking block, sample n answers, and return the majority answer.

    Parameters
    ----------
    prefill : str
        Opening of the model's turn; leave out ``<think>`` if the chat template already opens the thinking.
    """
    start = problem.start.append(prefill)
    samples = yield [Extend(start)] * n
    return elect(problem, samples)
