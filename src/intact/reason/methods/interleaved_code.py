"""Interleaved text and code: each Python block is run as soon as it is complete, and its output is fed back."""

from __future__ import annotations

from intact.reason import Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, Natural, Positive, ToolName
from intact.reason.parts.interpreting import Transcript, interpret
from intact.reason.parts.prompting import make_prompt

SOLVE = """\
{question}

Reason step by step, and do every calculation in Python: write a short block that begins with ```python, ends with \
``` and prints what you need. It is run at once, and its output is shown to you; variables stay for the next block. \
When you know the result, state the final answer in the form that the question asks for."""


@method(
    "Liao et al. 2024, arXiv 2401.08190 (MARIO); Yin et al. 2024, arXiv 2405.07551 (MuMath-Code)",
    group="programs, run in the sandbox",
    uses=("programs", "tool python"),
    temperature=0.7,
)
def interleaved_code(
    problem: Problem,
    *,
    n: Count = 8,
    rounds: Count = 4,
    repairs: Natural = 2,
    seconds: Positive = 10.0,
    output: Count = 1000,
    tool: ToolName = "python",
    constrained: bool = False,
    solve: str = SOLVE,
) -> Steps:
    """Write n completions that alternate text and code, run each code block and feed its output back, and vote.

    Parameters
    ----------
    n : int
        Number of completions.
    rounds : int
        Maximum number of code turns per completion.
    repairs : int
        Maximum number of failing code blocks per completion; after that the completion ends.
    seconds : float
        Wall-time limit for a code block together with the blocks before it, in seconds.
    output : int
        Maximum number of characters of output that are fed back; longer output is cut in the middle.
    tool : str
        Tool that runs the code.
    constrained : bool
        If true, a regular expression keeps code blocks well-formed.
    solve : str
        Prompt template for a solution, with {question}.
    """
    begun = Transcript(problem.ask(make_prompt(problem, solve)))
    texts = yield from interpret(
        [begun] * n, rounds=rounds, repairs=repairs, seconds=seconds, output=output, tool=tool, constrained=constrained
    )
    blocks, failed = [len(one.results) for one in texts], [one.failed for one in texts]
    return elect(problem, [one.state for one in texts], blocks=blocks, failed=failed)
