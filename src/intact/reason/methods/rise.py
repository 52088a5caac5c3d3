"""RISE: the model tries again turn by turn, whether or not its answers are right; then the turns vote."""

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
    """Answer, claim that the answer is wrong, answer again, and so on; return the majority answer over all turns.

    Parameters
    ----------
    turns : int
        Number of answers.
    window : int
        Number of most recent answers included in each turn's prompt.
    retry : str
        Message that follows each earlier answer, whether it is right or wrong.
    """
    answers = [(yield Extend(problem.start))]
    with until_spent():
        while len(answers) < turns:
            prompt = follow_up(problem, answers[-window:], retry)
            answers.append(as_reply(problem, (yield Extend(problem.ask(prompt)))))
    return elect(problem, answers, turns=[problem.answers(answers)])
