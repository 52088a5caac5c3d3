"""PlanGEN: constraints of a problem guide the verification of its answers, again and again."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, TypeAlias

from intact.errors import SpentError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect, take
from intact.reason.comparing import demand, read_score
from intact.reason.limits import Count, ModelName, within
from intact.reason.prompting import as_reply, make_prompt
from intact.reason.revising import better

CONSTRAIN = """\
{question}

List the constraints that a right answer to this must fulfil, each on a line of its own. Do not solve it."""

VERIFY = """\
{question}

Constraints on the answer:
{constraints}

Here is an answer:

{answer}

Check it step by step against every constraint, and say what is wrong. End with the line "Score: " and a number from \
-100, all wrong, to 100, all right."""

IMPROVE = """\
{question}

Constraints on the answer:
{constraints}

Here is an earlier answer:

{answer}

A verifier says:

{feedback}

Write a better answer in full."""

DEMAND: Final = "\n\nScore:"
LOWEST: Final = -100
Points: TypeAlias = Annotated[int, partial(within, 1, 100)]


@method("Parmar et al. 2025, arXiv 2502.16111", group="plans, roles and layers of models", temperature=0.7)
def plangen(
    problem: Problem,
    *,
    n: Count = 5,
    rounds: Count = 2,
    enough: Points = 95,
    verifier: ModelName = "",
    constrain: str = CONSTRAIN,
    verify: str = VERIFY,
    improve: str = IMPROVE,
) -> Steps:
    """List the constraints of a problem, score n answers by them, and improve the best until it scores enough.

    Parameters
    ----------
    n : int
        Answers of each round.
    rounds : int
        Rounds at most; from the second on, answers are shown the best one so far and what was said of it.
    enough : int
        The score, of 1 to 100, after which no further round begins.
    verifier : str
        Who lists constraints and verifies, by the driver's name; by default the model that solves.
    constrain : str
        How constraints are asked for, with {question}.
    verify : str
        How a score is asked for, with {question}, {constraints} and {answer}; it ends in "Score: NUMBER".
    improve : str
        How a better answer is asked for, with {question}, {constraints}, {answer} and {feedback}.
    """
    constraining = problem.ask(make_prompt(problem, constrain))
    *answers, listed = yield [*[Extend(problem.start)] * n, Extend(constraining, model=verifier)]
    best, feedback, scores = (answers[0], float(LOWEST - 1)), "", list[list[int]]()
    try:
        while True:
            prompts = [
                one.ask(make_prompt(problem, verify, constraints=listed.text, answer=one.text)) for one in answers
            ]
            replies = yield from demand(prompts, read_score, DEMAND, verifier)
            scores.append([LOWEST if score is None else max(LOWEST, min(score, 100)) for _, score in replies])
            known = [
                None if problem.answer(one) is None else score for one, score in zip(answers, scores[-1], strict=True)
            ]
            new = better(best, answers, known)
            feedback = feedback if new is best else replies[answers.index(new[0])][0].text
            best = new
            if best[1] >= enough or len(scores) == rounds:
                break
            values = {"constraints": listed.text, "answer": best[0].text, "feedback": feedback}
            prompt = make_prompt(problem, improve, **values)
            answers = [as_reply(problem, one) for one in (yield [Extend(best[0].ask(prompt))] * n)]
    except SpentError:
        if not scores:
            return elect(problem, answers)
    return take(problem, best[0], scores=scores, constraints=listed.text)
