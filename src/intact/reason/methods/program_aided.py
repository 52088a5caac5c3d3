"""Program-aided answers: the model writes Python, and the sandbox runs it."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import SpentError
from intact.reason import Extend, Part, Problem, RunProgram, State, Steps, method
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Count, Positive
from intact.reason.parts.prompting import make_prompt, read_value

PROGRAM = """\
{question}

Write a Python program that computes the answer and prints nothing else. Name its variables after what they mean."""

FENCE = "```"


def program_of(text: str) -> str:
    """Return the program in a reply: everything before the closing fence."""
    return text.partition(FENCE)[0]


def printed(written: Sequence[State], seconds: float) -> Part[list[str]]:
    """Return the last line that each program printed; empty if the program failed or is incomplete."""
    lines: list[str] = []
    try:
        for state in written:  # one by one: a batch that the budget cannot cover would give no result at all
            if state.broken_off:
                lines.append("")
                continue
            outcome = yield RunProgram(program_of(state.last), seconds=seconds)
            lines.append(outcome.stdout.strip().rpartition("\n")[2] if outcome.ok else "")
    except SpentError:
        lines += [""] * (len(written) - len(lines))
    return lines


@method(
    "Gao et al. 2022, arXiv 2211.10435 (PAL); Chen et al. 2022, arXiv 2211.12588 (PoT)",
    group="programs, run in the sandbox",
    uses=("programs",),
    temperature=0.7,
)
def program_aided(problem: Problem, *, n: Count = 8, seconds: Positive = 10.0, program: str = PROGRAM) -> Steps:
    """Have n programs written and run, and return the most frequently printed answer.

    Parameters
    ----------
    n : int
        Number of programs.
    seconds : float
        Wall-time limit per program, in seconds.
    program : str
        Prompt template for a program, with {question}; the reply begins inside a code block.
    """
    begun = problem.ask(make_prompt(problem, program)).append(f"{FENCE}python\n")
    written = yield [Extend(begun, stop=(FENCE,))] * n
    lines = yield from printed(written, seconds)
    answers = [read_value(problem, line) for line in lines]
    return elected(vote(answers), answers, written, None, printed=lines)
