"""Selection by a judge: the model itself or another model compares the completions."""

from __future__ import annotations

from intact._base.errors import SpentError
from intact.reason import Answer, Extend, Problem, Steps, method
from intact.reason.aggregate.pairs import consistent, points
from intact.reason.aggregate.votes import elect, pick
from intact.reason.limits import Count, ModelName, Samples, together
from intact.reason.parts.comparing import choose, numbered
from intact.reason.parts.prompting import make_prompt

SELECT = """\
{question}

Here are several answers to this:

{answers}

Decide which of them agrees best with the others, by the majority of their conclusions. End with the line "Choice: " \
and its number."""

COMPARE = """\
{question}

Here are two answers to this:

{answers}

Compare them step by step, and decide which is right, or better. Do not let their order or length decide. End with the \
line "Choice: " and its number."""


@method(
    "Chen et al. 2023, arXiv 2311.17311 (universal self-consistency)",
    group="samples and a vote",
    independent=True,
    temperature=0.7,
)
def judge_selection(
    problem: Problem, *, n: Samples = 8, checks: Count = 3, judge: ModelName = "", select: str = SELECT
) -> Steps:
    """Sample n completions, show them all to a judge in several orders, and return the one chosen most often.

    Parameters
    ----------
    checks : int
        Number of choices the judge makes; each time, the list is rotated by another n / checks places.
    judge : str
        Name of the model that chooses; by default the main model.
    select : str
        Prompt template for a choice, with {question} and {answers}.
    """
    samples = yield [Extend(problem.start)] * n
    known = [state for state in samples if problem.answer(state) is not None]
    if len({problem.answer(state) for state in known}) < 2:
        return elect(problem, samples)
    turns = [len(known) * i // checks for i in range(checks)]
    orders = [known[turn:] + known[:turn] for turn in turns]
    prompts = [make_prompt(problem, select, answers=numbered([state.text for state in order])) for order in orders]
    try:
        chosen = yield from choose([problem.ask(prompt) for prompt in prompts], len(known), judge)
    except SpentError:
        return elect(problem, samples)
    named = [(turn + place) % len(known) for turn, place in zip(turns, chosen, strict=True) if place is not None]
    if not named:
        return elect(problem, samples, choices=[])
    return pick(problem, known, [float(named.count(i)) for i in range(len(known))], choices=named)


def _check_pairs(*, most: int) -> None:
    together(most * (most - 1), "the pairs of most answers")


@method(
    "Zheng et al. 2023, arXiv 2306.05685 (both orders)",
    group="samples, chosen by a scorer",
    independent=True,
    checks=(_check_pairs,),
    temperature=0.7,
)
def pairwise_selection(
    problem: Problem, *, n: Samples = 8, most: Count = 4, judge: ModelName = "", compare: str = COMPARE
) -> Steps:
    """Sample n completions, have a judge compare the most frequent answers in pairs, and return the pairwise winner.

    Each pair is compared in both orders; an answer wins only if it is chosen in both, otherwise the pair is a draw.
    Ties go to the more frequent answer, then to the first.

    Parameters
    ----------
    most : int
        Number of answers compared: the most frequent ones, each represented by its first completion.
    judge : str
        Name of the model that compares; by default the main model.
    compare : str
        Prompt template for a comparison, with {question} and {answers}.
    """
    samples = yield [Extend(problem.start)] * n
    election = elect(problem, samples)
    names = list(election.votes)[:most]
    if len(names) < 2:
        return election
    answers = problem.answers(samples)
    texts = [samples[answers.index(name)] for name in names]
    pairs = [(i, j) for i in range(len(texts)) for j in range(i + 1, len(texts))]
    prompts = [
        texts[i].ask(make_prompt(problem, compare, answers=numbered([texts[i].text, texts[j].text])))
        for pair in pairs
        for i, j in (pair, pair[::-1])
    ]
    try:
        chosen = yield from choose(prompts, 2, judge)
    except SpentError:
        return election
    duels = [consistent(i, j, *chosen[2 * k : 2 * k + 2]) for k, (i, j) in enumerate(pairs)]
    score = points(len(names), duels)
    ranked = sorted(range(len(names)), key=lambda i: -score[i])
    votes = {names[i]: float(score[i]) for i in ranked}
    return Answer(names[ranked[0]], votes, None, texts[ranked[0]], details={"duels": [list(duel) for duel in duels]})
