"""Score unfinished texts by their known chance of a right answer, with noise: for studies of searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from intact._base.errors import ParameterError
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend
from intact.tasks.score.value.prefixes import PrefixTable, ValuedProblem, digest_of, score_of_prefix


class PrefixValue:
    """The share of a text's continuations that end in a right answer, with noise that sets the AUROC, in [0, 1].

    Values come from a table (`intact learn prefixes`), which also has the right answers: this scorer is for measuring
    how good a scorer a search needs, not for answering questions. The value of a prefix that the table lacks is
    estimated by as many continuations as its others; these are charged. A finished text has the value 1 if its answer
    is right, else 0. The noise is keyed by the problem, its seed and the text, so that a text always has the same score
    if the value is known.

    Parameters
    ----------
    argument : str
        ``FILE``, or ``AUROC=FILE`` with an AUROC from 0.5 to 1 (`intact.tasks.score.value.noise.noisy_score`).
    table : PrefixTable, optional
        The content of the file, if already loaded.
    """

    name = "prefix_value"
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, argument: str = "", table: PrefixTable | None = None) -> None:
        quality, equals, file = argument.partition("=")
        self.quality, file = (_quality(quality), file) if equals and _is_number(quality) else (1.0, argument)
        if not file and table is None:
            raise ParameterError(
                "the scorer prefix_value needs a table: prefix_value:FILE or prefix_value:AUROC=FILE "
                "(intact learn prefixes)"
            )
        self.table = PrefixTable.read(Path(file)) if table is None else table
        self.digest = f"{self.table.digest} {self.quality}"

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        known = self.table.of(problem.id)
        unknown = {
            state.text: state for state in states if not _over(state) and digest_of(state.text) not in known.prefixes
        }
        count = self.table.continuations
        ends = []
        if unknown:
            ends = yield [Extend(state) for state in unknown.values() for _ in range(count)]
        right = [problem.answer(state) == known.answer for state in ends]
        shares = {text: sum(right[i * count : (i + 1) * count]) / count for i, text in enumerate(unknown)}
        return [self._score(problem, known, state, shares) for state in states]

    def _score(self, problem: Problem, known: ValuedProblem, state: State, shares: Mapping[str, float]) -> float:
        if _over(state):
            value = float(problem.answer(state) == known.answer)
        else:
            value = shares[state.text] if state.text in shares else known.prefixes[digest_of(state.text)].value
        return score_of_prefix(
            self.table, self.quality, problem=problem.id, seed=problem.seed, text=state.text, value=value
        )


def _over(state: State) -> bool:
    """Return true if a text is finished, by itself, by the budget or by the context."""
    return state.ended or state.broken_off


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quality(text: str) -> float:
    quality = float(text)
    if not 0.5 <= quality <= 1:
        raise ParameterError(f"the AUROC of prefix_value must lie in [0.5, 1], got {text}")
    return quality
