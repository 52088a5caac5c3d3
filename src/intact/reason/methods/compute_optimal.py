"""Compute-optimal choice: use the method that your own logs show to be best for questions like this one."""

from __future__ import annotations

from dataclasses import replace

from intact._base.errors import FormatError, SpentError
from intact.reason import Answer, CallMethod, Extend, Problem, Read, Steps, find, method
from intact.reason.aggregate.votes import elect
from intact.reason.parts.choice import Policy, agreement, pilot_arm


@method(
    "Snell et al. 2024, arXiv 2408.03314; Liu et al. 2025, arXiv 2502.06703",
    group="a choice of the others, learnt from runs",
    uses=("policies",),
    temperature=0.7,
)
def compute_optimal(problem: Problem, *, table: str = "methods.json") -> Steps:
    """Measure how much a few samples agree, and use the method that a table lists for that level of agreement.

    If that method gives no answer, the vote of the first samples decides.

    Parameters
    ----------
    table : str
        File written by `intact learn methods --to`.
    """
    try:
        policy = Policy.parse((yield Read(table)), table)
    except FormatError as error:
        raise FormatError(f"{error}; `intact learn methods` writes such tables") from error
    for arm in policy.arms:
        find(arm.method).read(arm.settings)
    samples = (yield [Extend(problem.start)] * policy.pilot) if policy.pilot else []
    first = elect(problem, samples)
    share = agreement(first.votes, policy.pilot) if samples else 1.0
    arm = policy.choose(share)
    details = {"agreement": share if samples else None, "method": arm.method, "parameters": arm.settings}
    if samples and arm == pilot_arm(policy.pilot):
        return replace(first, details=details)
    try:
        answer: Answer = yield CallMethod(arm.method, problem, arm.settings)
    except SpentError:
        if not samples:
            raise
        return replace(first, details=details)
    if answer.answer is None and samples:  # its share of the budget may have been 0
        return replace(first, details=details)
    return replace(answer, details={**answer.details, **details})
