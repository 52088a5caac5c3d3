"""Critique and revise: a critic, possibly a larger model, criticises drafts, which are revised and then vote."""

from __future__ import annotations

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, ModelName, Natural
from intact.reason.parts.prompting import make_prompt
from intact.reason.parts.revising import rewrite

CRITIQUE = """\
{question}

Here is a draft of an answer:

{answer}

{principle} Say what should be changed."""

REVISE = """\
{question}

Here is a draft of an answer:

{answer}

A critic says:

{critique}

Write the answer anew, and heed the critic where the critic is right."""

PRINCIPLES = """\
Check whether the draft uses every fact of the question, and uses it rightly.
Check every calculation and every conclusion of the draft.
Check whether the draft answers what was asked, and states its answer clearly at the end."""


@method(
    "Bai et al. 2022, arXiv 2212.08073; Saunders et al. 2022, arXiv 2206.05802 (another critic)",
    version=2,
    group="revision",
    temperature=0.7,
)
def critique_and_revise(
    problem: Problem,
    *,
    n: Count = 4,
    rounds: Natural = 2,
    critic: ModelName = "",
    principles: str = PRINCIPLES,
    critique: str = CRITIQUE,
    revise: str = REVISE,
) -> Steps:
    """Criticise and revise n drafts, following one principle after another, and vote among the results.

    Parameters
    ----------
    n : int
        Number of drafts.
    rounds : int
        Number of revisions of each draft.
    critic : str
        Name of the model that criticises; by default the main model.
    principles : str
        Principles for the critic, one per line; each round uses the next line.
    critique : str
        Prompt template for a critique, with {question}, {answer} and {principle}.
    revise : str
        Prompt template for a revision, with {question}, {answer} and {critique}.
    """
    rules = principles.splitlines() or [""]
    drafts = yield [Extend(problem.start)] * n
    turns = [[answer] for answer in problem.answers(drafts)]
    try:
        for turn in range(rounds):
            rule = rules[turn % len(rules)]
            prompts = [make_prompt(problem, critique, answer=draft.text, principle=rule) for draft in drafts]
            critiques = yield [Extend(d.ask(prompt), model=critic) for d, prompt in zip(drafts, prompts, strict=True)]
            prompts = [
                make_prompt(problem, revise, answer=draft.text, critique=one.text)
                for draft, one in zip(drafts, critiques, strict=True)
            ]
            requests = [Extend(one.ask(prompt)) for one, prompt in zip(critiques, prompts, strict=True)]
            drafts = yield from rewrite(problem, drafts, requests)
            for own, answer in zip(turns, problem.answers(drafts), strict=True):
                own.append(answer)
    except SpentError:
        pass  # the newest drafts vote
    return elect(problem, drafts, turns=turns)
