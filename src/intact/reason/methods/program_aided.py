"""Program-aided answers: the model writes Python, the sandbox runs it."""

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
    """The program that a text holds up to the fence that closes it."""
    return text.partition(FENCE)[0]


def printed(written: Sequence[State], seconds: float) -> Part[list[str]]:
    """The last line that each program printed; none where it failed, or could not be written to its end."""
    lines: list[str] = []
    try:
        for state in written:  # one by one: of several together that cannot all be paid none would count
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
    """Have n programs written and run, and give the answer that most of them print.

    Parameters
    ----------
    n : int
        Programs.
    seconds : float
        What each may take, wall time.
    program : str
        How a program is asked for, with {question}; the reply begins inside a block of code.
    """
    begun = problem.ask(make_prompt(problem, program)).append(f"{FENCE}python\n")
    written = yield [Extend(begun, stop=(FENCE,))] * n
    lines = yield from printed(written, seconds)
    answers = [read_value(problem, line) for line in lines]
    return elected(vote(answers), answers, written, None, printed=lines)
