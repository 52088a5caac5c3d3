"""Think-and-Execute: pseudocode for all problems of a kind, which the model simulates on the problem at hand."""

from __future__ import annotations

from intact.reason import Extend, Problem, Read, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, ModelName
from intact.reason.parts.prompting import as_reply, make_prompt

THINK = """\
{question}

Write pseudocode in the style of Python that solves every problem of this kind, not this one alone. It takes the \
problem's facts as input, has comments, prints every intermediate result by print(), and returns the answer. Do not \
run it."""

EXECUTE = """\
{question}

Here is code that solves problems of this kind:

{code}

Execute it on this problem step by step as an interpreter would: write every line that it prints, with the values that \
it prints. Then state the final answer in the form that the question asks for."""


@method("Chae et al. 2024, arXiv 2404.02575", group="plans, roles and layers of models", temperature=0.0)
def think_and_execute(
    problem: Problem,
    *,
    n: Count = 1,
    code: str = "",
    thinker: ModelName = "",
    think: str = THINK,
    execute: str = EXECUTE,
) -> Steps:
    """Write pseudocode for problems of this kind, or read it from a file, and simulate its execution on the problem.

    Parameters
    ----------
    n : int
        Number of simulations that vote; more than 1 requires a temperature.
    code : str
        File with the pseudocode; if empty, pseudocode is written for each problem.
    thinker : str
        Name of the model that writes the pseudocode; by default the main model.
    think : str
        Prompt template for pseudocode, with {question}.
    execute : str
        Prompt template for a simulation, with {question} and {code}.
    """
    if code:
        text = yield Read(code)
    else:
        text = (yield Extend(problem.ask(make_prompt(problem, think)), model=thinker)).text
    prompt = make_prompt(problem, execute, code=text)
    texts = yield [Extend(problem.ask(prompt))] * n
    return elect(problem, [as_reply(problem, one) for one in texts], code=text)
