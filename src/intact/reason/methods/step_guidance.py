"""Step guidance: before each step, the model asks itself what the step needs, and answers its own question."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Filled
from intact.reason.parts.prompting import make_prompt
from intact.reason.parts.stepwise import or_spent, until_spent

ASK = """\
{question}

The solution so far:
{solution}

Do not go on with it yet. Ask one question: what knowledge or which intermediate result does the next step need?"""

GUIDE = """\
{question}

The solution so far:
{solution}

A question about the next step:
{inquiry}

Answer this question in short. Do not solve the problem."""

STEP = """\
{question}

The solution so far:
{solution}

Guidance for the next step:
{guidance}

Write the next step alone, by this guidance. If nothing is missing any more, write only: {finished}"""

NOTHING = "(nothing yet)"


@method("Cao et al. 2024, arXiv 2410.19817", group="search step by step", temperature=0.7)
def step_guidance(
    problem: Problem,
    *,
    steps: Count = 6,
    tokens: Count = 400,
    finished: Filled = "The solution is complete.",
    ask: str = ASK,
    guide: str = GUIDE,
    step: str = STEP,
) -> Steps:
    """Ask what the next step needs, answer that, and write the step using the answer, until nothing is missing.

    Parameters
    ----------
    steps : int
        Maximum number of steps; after that the solution is written to the end without guidance.
    tokens : int
        Maximum number of tokens per reply.
    finished : str
        Sentence written instead of a step when the solution is complete.
    ask : str
        Prompt template for a question about the next step, with {question} and {solution}.
    guide : str
        Prompt template for answering that question, with {question}, {solution} and {inquiry}.
    step : str
        Prompt template for the step, with {question}, {solution}, {guidance} and {finished}.
    """
    text, taken = problem.start, 0
    with until_spent() as spent:
        while taken < steps:
            values = {"solution": text.text.strip() or NOTHING, "finished": finished}
            inquiry = yield Extend(problem.ask(make_prompt(problem, ask, **values)), max_tokens=tokens)
            prompt = make_prompt(problem, guide, inquiry=inquiry.text.strip(), **values)
            guidance = yield Extend(inquiry.ask(prompt), max_tokens=tokens)
            prompt = make_prompt(problem, step, guidance=guidance.text.strip(), **values)
            written = (yield Extend(guidance.ask(prompt), max_tokens=tokens)).text.strip()
            if finished in written or not written:
                break
            text = text.append(f"{written}\n\n", special=False)
            taken += 1
        text = yield Extend(text)
    return or_spent(take(problem, text, steps=taken), spent)
