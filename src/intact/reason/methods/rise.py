"""RISE: the same model tries again, turn by turn, whatever its answers are worth; then a vote over the turns."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count
from intact.reason.parts.prompting import as_reply, follow_up
from intact.reason.parts.stepwise import until_spent

RETRY = """\
This answer is not right. Find the mistake, and solve the problem again, step by step, with a clear answer at the \
end."""


@method("Qu et al. 2024, arXiv 2407.18219", group="revision", temperature=0.7)
def rise(problem: Problem, *, turns: Count = 5, window: Count = 2, retry: str = RETRY) -> Steps:
    """Answer, be told that the answer is wrong, answer again; and take the majority of all turns.

    Parameters
    ----------
    turns : int
        Answers.
    window : int
        Earlier answers, the newest ones, that each turn is shown.
    retry : str
        What stands behind each earlier answer, whether it is right or wrong.
    """
    answers = [(yield Extend(problem.start))]
    with until_spent():
        while len(answers) < turns:
            prompt = follow_up(problem, answers[-window:], retry)
            answers.append(as_reply(problem, (yield Extend(problem.ask(prompt)))))
    return elect(problem, answers, turns=[problem.answers(answers)])
