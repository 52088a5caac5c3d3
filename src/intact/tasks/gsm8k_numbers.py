"""GSM8K's own problems with different numbers of any size, and with recomputed answers."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import lru_cache

from intact._base.errors import ParameterError
from intact.tasks.annotated import AnnotatedProgram, program
from intact.tasks.data import Row
from intact.tasks.generated import Draws
from intact.tasks.gsm8k import GSM8K
from intact.tasks.gsm_ranges import LEVELS, ErrorKinds
from intact.tasks.score import numbers
from intact.tasks.task import Item

TRIES = 500
"""Number of draws after which a problem counts as having no valid numbers at a level."""
_NO_NUMBERS = "no numbers of a level leave its results whole and above 0"


class GSM8KNumbers(ErrorKinds):
    """GSM8K problems with longer numbers.

    The method follows Shrestha et al. 2025, arXiv 2502.08680, but derives programs from the annotations instead of
    writing them by hand.

    Level 0 keeps the numbers of the data. At levels 1 to 6, numbers that a step divides by range from 2 to 9, and all
    others have up to level + 1 digits (level 1: 2 to 99; level 2: 100 to 999; and so on). Results of steps are
    positive, and whole where the original results are. The set therefore measures whether a model carries out a plan
    with longer numbers in sums, differences and products. It does not measure long division, and the numbers need not
    be plausible: a hen may lay 98,324 eggs a day. For a given seed, every level has the same problems: those whose
    solution is a program (`intact.tasks.annotated`) and for which numbers were found at all levels.
    """

    name = "gsm8k_numbers"
    version = 2
    line = "gsm8k with longer numbers, divisors but 2 to 9 (level 0 to 6); logical and arithmetic errors told apart"
    source = GSM8K.source
    licence = GSM8K.licence
    files = GSM8K.files
    upstream = GSM8K.upstream

    def __init__(self, *, level: int = 1, seed: int = 0) -> None:
        if not 0 <= level <= LEVELS:
            raise ParameterError(f"{self.name}: level must be from 0 to {LEVELS}, got {level}")
        self.level, self.seed = level, seed

    def rows(self, split: str, rows: list[Row]) -> list[tuple[int, Row]]:
        """Select the rows that have a program and numbers at every level, and count the others in `left_out`."""
        left_out = Counter[str]()
        kept = []
        for index, row in enumerate(rows):
            try:
                found = self._versions(row, index)
            except (KeyError, TypeError, AttributeError, IndexError):  # a damaged row, which `load` reports
                kept.append((index, row))
                continue
            if isinstance(found, str):
                left_out[found] += 1
            else:
                kept.append((index, row))
        self.left_out = dict(left_out.most_common())
        return kept

    def parse(self, row: Row, index: int) -> Item:
        """Replace the numbers in the question, and compute the answer for them with the program."""
        found = self._versions(row, index)
        if isinstance(found, str):
            raise ValueError(found)
        question, answer = found[self.level]
        return Item(str(index), question, answer, {"level": self.level})

    def _versions(self, row: Row, index: int) -> tuple[tuple[str, str], ...] | str:
        answer = GSM8K().parse(row, index).answer
        return versions(row["question"], row["answer"], answer, (self.seed, self.name, index))


@lru_cache(4096)
def versions(
    question: str, solution: str, answer: str, name: tuple[int, str, int]
) -> tuple[tuple[str, str], ...] | str:
    """Return a problem at every level from 0, as pairs of question and answer, or the reason why it has no variants.

    Parameters
    ----------
    name : tuple
        The seed, the task's name and the problem's index, on which draws depend.
    """
    found = program(question, solution, answer)
    if isinstance(found, str):
        return found
    made = [(question, answer)]
    for level in range(1, LEVELS + 1):
        values = _numbers(found, Draws(name[0], *name[1:], level), level)
        if values is None:
            return _NO_NUMBERS
        parts, end = list[str](), 0
        for number, value in zip(found.numbers, values, strict=True):
            parts += [question[end : number.start], str(value)]
            end = number.end
        made.append(("".join([*parts, question[end:]]), numbers.canonical(found.results(values)[-1])))
    return tuple(made)


def _numbers(found: AnnotatedProgram, draws: Draws, level: int) -> list[int] | None:
    """Draw numbers at a level for a problem; return None if no valid ones were found."""
    own = [number.value for number in found.numbers]
    whole = [result.denominator == 1 for result in found.results(own)]
    low, high = 10**level if level > 1 else 2, 10 ** (level + 1) - 1
    for _ in range(TRIES):
        values = [draws.between(2, 9) if i in found.divided else draws.between(low, high) for i in range(len(own))]
        try:
            results = found.results(values)
        except ZeroDivisionError:
            continue
        if all(_fits(result, must) for result, must in zip(results, whole, strict=True)):
            return values
    return None


def _fits(result: Fraction, whole: bool) -> bool:
    return result > 0 and (not whole or result.denominator == 1)
