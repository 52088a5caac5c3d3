"""Score a program by the public tests that it passes."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import RunProgram
from intact.tasks.score import code


class UnitTests:
    """The share of the problem's public tests (``problem.data["tests"]``) that the program passes in the sandbox.

    Each program is charged as one run. A completion without a program scores 0.

    Parameters
    ----------
    seconds : str or float
        Wall-clock timeout for all tests of one program.
    """

    name, digest = "unit_tests", ""
    version = 1
    least, most = 0.0, 1.0
    uses = ("programs",)
    data = ("tests",)

    def __init__(self, seconds: str | float = 10.0) -> None:
        try:
            self._seconds = float(seconds)
        except ValueError as error:
            raise ParameterError(
                f"the argument of unit_tests must be the timeout of a program in seconds, got {seconds!r}"
            ) from error

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        tests: Sequence[str] = problem.data.get("tests", ())
        if not tests:
            raise ParameterError(f"{problem.id} has no public tests")
        programs = problem.answers(states)
        counted = [None if program is None else code.counting(program, tests) for program in programs]
        runs = yield [RunProgram(count[0], seconds=self._seconds) for count in counted if count is not None]
        outcomes = iter(runs)
        return [
            0.0 if count is None else code.counted(next(outcomes).stdout, count[1]) / len(tests) for count in counted
        ]
