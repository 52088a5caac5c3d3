"""PlanGEN: the problem's constraints guide repeated verification of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

from intact._base.errors import SpentError
from intact.reason import Answer, CallMethod, Extend, Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import elect, take
from intact.reason.limits import Count, ModelName, one_of, within
from intact.reason.parts.comparing import choose, demand, read_score
from intact.reason.parts.prompting import as_reply, make_prompt
from intact.reason.parts.revising import better
from intact.reason.populations.ucb import UcbArm, choose_arm

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

GUIDE = """\
{question}

A right answer fulfils these constraints:
{constraints}"""

SELECT = """\
{question}

Constraints on the answer:
{constraints}

Do not solve this yet. How hard is it, and which way of looking for an answer suits it best?

1. Write several whole answers, and take the best.
2. Write an answer step by step, judge several next steps each time, and keep the best beginnings.
3. Write many answers step by step at the same time, and go on mostly with those that score highest.

End with the line "Choice: " and the number of the way."""

FORMS: Final = ("best_of_n", "tree_of_thoughts", "rebase")
"""Search methods, in the order of the list in `SELECT`."""
DEMAND: Final = "\n\nScore:"
LOWEST: Final = -100
Points: TypeAlias = Annotated[int, partial(within, 1, 100)]


@method(
    "Parmar et al. 2025, arXiv 2502.16111",
    group="plans, roles and layers of models",
    uses=("method tree_of_thoughts", "method rebase", "scorer verification"),
    temperature=0.7,
)
def plangen(
    problem: Problem,
    *,
    n: Count = 5,
    rounds: Count = 2,
    enough: Points = 95,
    form: Annotated[str, partial(one_of, (*FORMS, "select"))] = "best_of_n",
    children: Count = 3,
    width: Count = 10,
    verifier: ModelName = "",
    constrain: str = CONSTRAIN,
    verify: str = VERIFY,
    improve: str = IMPROVE,
    guide: str = GUIDE,
    select: str = SELECT,
) -> Steps:
    """List the constraints of a problem, score n answers against them, and improve the best up to a set score.

    Parameters
    ----------
    n : int
        Number of answers per round of best_of_n.
    rounds : int
        Maximum number of rounds; from the second round on, prompts include the best answer so far and the feedback on
        it.
    enough : int
        Score, from 1 to 100, at or above which no further round begins.
    form : str
        Search method of a round: best_of_n, n completions; tree_of_thoughts or rebase, the method of that name; select,
        whichever of the three has the largest upper confidence bound, given the scores so far.
    children : int
        Number of candidate next thoughts per sequence in tree_of_thoughts.
    width : int
        Number of sequences that rebase writes at a time.
    verifier : str
        Name of the model that lists constraints and verifies; by default the main model.
    constrain : str
        Prompt template for constraints, with {question}.
    verify : str
        Prompt template for a score, with {question}, {constraints} and {answer}; the reply ends in "Score: NUMBER".
    improve : str
        Prompt template for a better answer, with {question}, {constraints}, {answer} and {feedback}.
    guide : str
        Prompt template for tree_of_thoughts and rebase in the first round, with {question} and {constraints}.
    select : str
        Prompt template for choosing one of the three search methods, with {question} and {constraints}.
    """
    constraining = problem.ask(make_prompt(problem, constrain))
    answers = list[State]()
    if form == "best_of_n":
        *answers, listed = yield [*[Extend(problem.start)] * n, Extend(constraining, model=verifier)]
    else:
        listed = yield Extend(constraining, model=verifier)
    make = partial(make_prompt, problem, constraints=listed.text)
    parameters: dict[str, Mapping[str, Any]] = {
        "best_of_n": {"n": n},
        "tree_of_thoughts": {"k": children},
        "rebase": {"n": width, "scorer": f"verification:{verifier}" if verifier else "verification"},
    }
    arms = {name: UcbArm() for name in FORMS if form in (name, "select")}
    feedback, scores, forms = "", list[list[int]](), list[str]()
    try:
        if form == "select":
            (preferred,) = yield from choose([problem.ask(make(select))], len(FORMS), verifier)
            if preferred is not None:
                arms[FORMS[preferred]] = UcbArm(prior=1.0)
        forms.append(_next_form(arms))
        if form != "best_of_n":
            start = problem.start if forms[0] == "best_of_n" else problem.ask(make(guide))
            answers = yield from _write(problem, start, forms[0], parameters[forms[0]])
        best = (answers or [problem.start])[0], float(LOWEST - 1)
        while True:
            prompts = [_place(problem, one).ask(make(verify, answer=one.text)) for one in answers]
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
            reward = max([score for score in known if score is not None], default=LOWEST) / 100
            arms[forms[-1]] = arms[forms[-1]].observe(reward)
            forms.append(_next_form(arms))
            start = _place(problem, best[0]).ask(make(improve, answer=best[0].text, feedback=feedback))
            answers = yield from _write(problem, start, forms[-1], parameters[forms[-1]])
    except SpentError:
        if not (scores or answers):
            raise
        if not scores:
            return elect(problem, answers)
    details = {} if form == "best_of_n" else {"forms": forms[: len(scores)]}
    return take(problem, best[0], scores=scores, constraints=listed.text, **details)


def _next_form(arms: Mapping[str, UcbArm]) -> str:
    """Return the search method with the largest upper confidence bound."""
    return list(arms)[choose_arm(list(arms.values()))]


def _write(problem: Problem, start: State, form: str, parameters: Mapping[str, Any]) -> Part[list[State]]:
    """Write answers to a prompt with a search method, as replies to the problem; a called method gives at most one."""
    if form == "best_of_n":
        return [as_reply(problem, one) for one in (yield [Extend(start)] * parameters["n"])]
    question = start.prompt if isinstance(start.prompt, str) else start.prompt[-1][1]
    whole = replace(problem, prompt=start.prompt, data={**problem.data, "question": question})
    answer: Answer = yield CallMethod(form, whole, parameters)
    return [] if answer.chosen is None else [as_reply(problem, answer.chosen)]


def _place(problem: Problem, state: State) -> State:
    """Return the state for questions about an answer: the answer itself, or the root if a called method wrote it."""
    own = isinstance(next(iter(state.branch[len(problem.root) :]), None), int)
    return state if own else problem.start
