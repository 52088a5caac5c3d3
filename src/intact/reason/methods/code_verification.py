"""CSV's loop: solve with code, verify with code, and solve again if the verification rejects the answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from intact.reason import Part, Problem, Steps, method
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Amount, Count, Natural, Positive
from intact.reason.methods.interleaved_code import SOLVE
from intact.reason.parts.interpreting import FENCE, Transcript, interpret
from intact.reason.parts.prompting import make_prompt
from intact.reason.problem import path

VERIFY: Final = """

Let me verify this answer by another way, in Python. The code prints True if the answer is right, False if it is \
wrong, and Uncertain if neither can be told.

"""
AGAIN: Final = """
The verification says that this answer is wrong. Let me solve the problem again, by another way.

"""
VERDICTS: Final = ("True", "False", "Uncertain")


@dataclass
class _Solution:
    """A transcript in progress, with its answers, their verdicts and the token count of each verification."""

    text: Transcript
    answers: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """If true, the newest answer was judged wrong, and the transcript can continue."""
        return self.verdicts[-1:] == ["False"] and _goes_on(self.text)


def _goes_on(text: Transcript) -> bool:
    """Return true if a transcript can continue: it was not cut off by a limit, and has not ended permanently."""
    return text.state.why in ("", "end", "stop")


def _verdict(text: Transcript) -> str:
    """Return the last line that the last block printed if that line is a verdict; otherwise return Uncertain."""
    last = text.results[-1] if text.results else None
    line = last.text.strip().rpartition("\n")[2].strip() if last is not None and last.ok else ""
    return line if line in VERDICTS else "Uncertain"


def _solve_and_verify(
    problem: Problem, solutions: list[_Solution], rounds: int, repairs: int, seconds: float, output: int, verify: str
) -> Part[None]:
    """Extend each transcript with a solution, and with a verification if the solution gives an answer."""
    places = [len(one.text.state.pieces) for one in solutions]
    begun = [replace(one.text, results=(), over=False) for one in solutions]
    texts = yield from interpret(begun, rounds=rounds, repairs=repairs, seconds=seconds, output=output)
    answered = []
    for one, text, place in zip(solutions, texts, places, strict=True):
        one.text = text
        answer = problem.answer(replace(text.state, pieces=text.state.pieces[place:]))
        if answer is not None:
            one.answers.append(answer)
            one.verdicts.append("Uncertain")
            one.tokens.append(0)
        if answer is not None and _goes_on(text):
            answered.append(one)
    begun = []
    for one in answered:
        state = one.text.state
        begun.append(Transcript(state, len(state.pieces), one.text.cells).append(f"{verify}{FENCE}python\n"))
    texts = yield from interpret(
        begun, rounds=repairs + 1, repairs=repairs, seconds=seconds, output=output, one_block=True
    )
    for one, text in zip(answered, texts, strict=True):
        one.tokens[-1] = text.state.length - one.text.state.length
        one.text, one.verdicts[-1] = text, _verdict(text)


@method(
    "Zhou et al. 2023, arXiv 2308.07921 (CSV)",
    version=2,
    group="programs, run in the sandbox",
    uses=("programs", "tool python"),
    temperature=0.7,
)
def code_verification(
    problem: Problem,
    *,
    n: Count = 8,
    amendments: Natural = 2,
    rounds: Count = 3,
    repairs: Natural = 1,
    right: Amount = 1.0,
    uncertain: Amount = 0.5,
    wrong: Amount = 0.2,
    seconds: Positive = 10.0,
    output: Count = 1000,
    solve: str = SOLVE,
    verify: str = VERIFY,
    again: str = AGAIN,
) -> Steps:
    """Solve and verify with code in one transcript, solve again if the verification fails, and weight votes by verdict.

    If all answers have weight 0, each gets one vote.

    Parameters
    ----------
    n : int
        Number of transcripts.
    amendments : int
        Maximum number of further solutions per transcript.
    rounds : int
        Maximum number of code turns per solution.
    repairs : int
        Maximum number of failing code blocks per solution and per verification.
    right : float
        Weight of an answer whose last verification prints True.
    uncertain : float
        Weight of an answer whose last verification prints neither True nor False, or fails.
    wrong : float
        Weight of an answer whose last verification prints False.
    seconds : float
        Wall-time limit for a code block together with the blocks before it, in seconds.
    output : int
        Maximum number of characters of output that are fed back.
    solve : str
        Prompt template for a solution, with {question}.
    verify : str
        Text appended before a verification, which begins in a code block.
    again : str
        Text appended before another solution.
    """
    begun = problem.ask(make_prompt(problem, solve))
    solutions = [_Solution(Transcript(begun)) for _ in range(n)]
    for turn in range(amendments + 1):
        going = [one for one in solutions if not turn or one.wrong]
        if not going:
            break
        for one in going if turn else ():
            state = one.text.state
            one.text = Transcript(state, len(state.pieces), one.text.cells).append(again)
        yield from _solve_and_verify(problem, going, rounds, repairs, seconds=seconds, output=output, verify=verify)
    answers = [one.answers[-1] if one.answers else None for one in solutions]
    last = [one.verdicts[-1] if one.verdicts else "" for one in solutions]
    weights = [{"True": right, "False": wrong}.get(verdict, uncertain) for verdict in last]
    values = {"True": 1.0, "False": 0.0}
    verdicts = {
        path(one.text.state.branch): [[values.get(v), count] for v, count in zip(one.verdicts, one.tokens, strict=True)]
        for one in solutions
        if one.verdicts
    }
    voting = [weight for weight, answer in zip(weights, answers, strict=True) if answer is not None]
    return elected(
        vote(answers, weights if any(voting) else None),
        answers,
        [one.text.state for one in solutions],
        weights,
        verdicts=verdicts,
        printed=last,
        turns=[one.answers for one in solutions],
    )
