"""Right answers with a wrong derivation: completions with a right answer in which an equation does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import percent, with_bounds
from intact.evaluate.report.sections.base import MIXED, Arms, OmittedError, Texts, of_texts, section_by_run
from intact.evaluate.scores import curve
from intact.stats.association import share_of_samples
from intact.stats.coverage import pass_at_k
from intact.stats.intervals import Interval
from intact.tasks.score.equations import equations

FEWEST = 0.5
"""Minimum share of right completions with an equation; below it, those without one would dominate the unknown part."""


class CleanCoverage(NamedTuple):
    """pass@k as graded, and with right completions that contain a failing equation counted as wrong."""

    samples: int
    graded: float
    clean: float


class DerivationFindings(NamedTuple):
    """The right completions of one run by their equations.

    Attributes
    ----------
    right, unchecked, failing : int
        Right completions; those without an equation that can be checked; those with an equation that fails.
    problems : int
        Problems with a right completion that contains an equation.
    rate : Interval
        The share of right completions with equations in which at least one fails.
    rate_wrong : Interval or None
        The same for wrong completions; None if fewer than two problems have a wrong one with an equation.
    coverage : list of CleanCoverage
        For k = 1, 2, 4, ..., and all samples; empty if problems have different numbers of samples.
    """

    right: int
    unchecked: int
    failing: int
    problems: int
    rate: Interval
    rate_wrong: Interval | None
    coverage: list[CleanCoverage]


class _Checked(NamedTuple):
    """A completion, with flags: it is right, it states an equation, one of its equations fails."""

    right: bool
    stated: bool
    fails: bool


def measure(texts: Texts) -> DerivationFindings:
    """Measure the completions of a run, by problem.

    A completion without an equation is trusted: in `coverage` its verdict counts as graded.
    """
    checked = {name: [_checked(bool(one.sample.correct), one.text) for one in own] for name, own in texts.items()}
    right = [one for own in checked.values() for one in own if one.right]
    unchecked = sum(not one.stated for one in right)
    problems = sum(any(one.right and one.stated for one in own) for own in checked.values())
    if problems < MIXED:
        raise OmittedError(
            f"only {problems} problems have right texts with an equation that can be checked, but {MIXED} are needed"
        )
    if len(right) - unchecked < FEWEST * len(right):
        share = percent((len(right) - unchecked) / len(right))
        raise OmittedError(f"only {share} of its right texts state an equation that can be checked")
    wrong_problems = sum(any(one.stated and not one.right for one in own) for own in checked.values())
    return DerivationFindings(
        len(right),
        unchecked,
        sum(one.fails for one in right),
        problems,
        rate=_share(checked, True),
        rate_wrong=_share(checked, False) if wrong_problems > 1 else None,
        coverage=_coverage(list(checked.values())),
    )


def _checked(right: bool, text: str) -> _Checked:
    found = equations(text)
    return _Checked(right, bool(found), not all(one.holds for one in found))


def _coverage(checked: Sequence[Sequence[_Checked]]) -> list[CleanCoverage]:
    most = len(checked[0])
    if any(len(own) != most for own in checked):
        return []
    graded = [sum(one.right for one in own) for own in checked]
    clean = [sum(one.right and not one.fails for one in own) for own in checked]
    return [
        CleanCoverage(k, float(pass_at_k(most, graded, k).mean()), float(pass_at_k(most, clean, k).mean()))
        for k in curve(most)
    ]


def _share(checked: Mapping[str, Sequence[_Checked]], right: bool) -> Interval:
    failing = [sum(one.fails for one in own if one.right == right) for own in checked.values()]
    return share_of_samples(failing, [sum(one.stated for one in own if one.right == right) for own in checked.values()])


def _sentence(one: DerivationFindings) -> str:
    return (
        f"of the right texts that show a calculation, {with_bounds(one.rate)} have one that is wrong: the answer is "
        "right, the way to it is not."
    )


def _show(found: Mapping[str, DerivationFindings], _: Arms) -> Iterator[Block]:
    yield from table(
        {
            "run": name,
            "right texts": f"{one.right:,}",
            "without an equation": f"{one.unchecked:,}",
            "with a failing one": f"{one.failing:,}",
            "failing, of right texts with equations": with_bounds(one.rate),
            "of wrong texts with equations": with_bounds(one.rate_wrong),
        }
        for name, one in found.items()
    )
    yield from table(
        {
            "run": name,
            "samples": str(part.samples),
            "pass@k": percent(part.graded),
            "pass@k, failing derivations counted as wrong": percent(part.clean),
        }
        for name, one in found.items()
        for part in one.coverage
    )
    yield Paragraph(
        "Equations between numbers are computed again, exactly. That finds wrong arithmetic only: a text whose "
        "reasoning is wrong and whose arithmetic is right passes, and so does one without equations. What is "
        "written in an unusual way may be misread. In parentheses 95% intervals over problems."
    )


SECTION = section_by_run(
    "Right answers, wrong derivations",
    150,
    of_texts(measure),
    _show,
    sources=("arXiv 2502.06217, with equations computed again in place of judges",),
    sentence=_sentence,
)
