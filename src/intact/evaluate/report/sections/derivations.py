"""Right answers whose derivation fails: texts that end right although an equation in them is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import percent, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Omission,
    ReportSection,
    SampleText,
    SectionBody,
    by_run,
    drawn_texts,
    join_reasons,
    measured,
    omission_notes,
    once,
)
from intact.stats.association import share_of_samples
from intact.stats.coverage import pass_at_k
from intact.stats.intervals import Interval
from intact.tasks.score.equations import equations

FEWEST = 0.5
"""The least share of right texts with an equation; below it those without one would decide what is not known."""


class CleanCoverage(NamedTuple):
    """pass@k as graded, and if right texts with a failing equation count as wrong."""

    samples: int
    graded: float
    clean: float


class DerivationFindings(NamedTuple):
    """The right texts of one run by their equations.

    Attributes
    ----------
    right, unchecked, failing
        Right texts; those without an equation that can be checked; those with one that does not hold.
    problems
        Problems with a right text that has an equation.
    rate : Interval
        The share of right texts with equations in which one fails.
    rate_wrong : Interval or None
        The same of wrong texts; None if fewer than two problems have one with an equation.
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


def measure(texts: Mapping[str, Sequence[SampleText]]) -> DerivationFindings | Omission:
    """Measure the texts of a run, by problem.

    A text without an equation is taken at its word: in `coverage` it counts as graded.
    """
    checked = {name: [(bool(one.sample.correct), *_checked(one.text)) for one in own] for name, own in texts.items()}
    every = [one for own in checked.values() for one in own]
    right = sum(good for good, _, _ in every)
    unchecked = sum(good and not stated for good, stated, _ in every)
    problems = sum(any(good and stated for good, stated, _ in own) for own in checked.values())
    if problems < MIXED:
        return Omission(
            f"{problems} problems have right texts with an equation that can be checked; {MIXED} are needed"
        )
    if right - unchecked < FEWEST * right:
        share = percent((right - unchecked) / right)
        return Omission(f"only {share} of its right texts state an equation that can be checked")
    sizes = {len(own) for own in checked.values()}
    coverage = []
    if len(sizes) == 1:
        most = sizes.pop()
        n = [most] * len(checked)
        graded = [sum(good for good, _, _ in own) for own in checked.values()]
        clean = [sum(good and not fails for good, _, fails in own) for own in checked.values()]
        for k in sorted({1 << i for i in range(most.bit_length())} | {most}):
            coverage.append(
                CleanCoverage(k, float(pass_at_k(n, graded, k).mean()), float(pass_at_k(n, clean, k).mean()))
            )
    wrong_problems = sum(any(stated and not good for good, stated, _ in own) for own in checked.values())
    return DerivationFindings(
        right,
        unchecked,
        sum(good and fails for good, _, fails in every),
        problems,
        rate=_share(checked, True),
        rate_wrong=_share(checked, False) if wrong_problems > 1 else None,
        coverage=coverage,
    )


def _checked(text: str) -> tuple[bool, bool]:
    """Return whether a text has equations, and whether one of them fails."""
    found = equations(text)
    return bool(found), not all(one.holds for one in found)


def _share(checked: Mapping[str, Sequence[tuple[bool, bool, bool]]], right: bool) -> Interval:
    failing = [sum(fails for good, _, fails in own if good == right) for own in checked.values()]
    stated = [sum(states for good, states, _ in own if good == right) for own in checked.values()]
    return share_of_samples(failing, stated)


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, lambda arm: measured(once(arm, drawn_texts), measure))
    if not found:
        return join_reasons(lacking)
    blocks: list[Block] = [
        Paragraph(
            f"{name}: of the right texts that show a calculation, {with_bounds(*one.rate)} have one that is wrong: the "
            "answer is right, the way to it is not."
        )
        for name, one in found.items()
    ]
    rows = [
        [
            name, f"{one.right:,}", f"{one.unchecked:,}", f"{one.failing:,}", with_bounds(*one.rate),
            with_bounds(*one.rate_wrong) if one.rate_wrong else "",
        ]
        for name, one in found.items()
    ]  # fmt: skip
    head = [
        "run", "right texts", "without an equation", "with a failing one", "failing, of right texts with equations",
        "of wrong texts with equations",
    ]  # fmt: skip
    blocks.append(Table(head, rows))
    curves = [
        [name, str(part.samples), percent(part.graded), percent(part.clean)]
        for name, one in found.items()
        for part in one.coverage
    ]
    if curves:
        blocks.append(Table(["run", "samples", "pass@k", "pass@k, failing derivations counted as wrong"], curves))
    blocks.append(
        Paragraph(
            "Equations between numbers are computed again, exactly. That finds wrong arithmetic only: a text whose "
            "reasoning is wrong and whose arithmetic is right passes, and so does one without equations. What is "
            "written in an unusual way may be misread. In parentheses 95% intervals over problems."
        )
    )
    return SectionBody([*blocks, *omission_notes(lacking)], found)


SECTION = ReportSection(
    "Right answers, wrong derivations",
    _make,
    ("arXiv 2502.06217, with equations computed again in place of judges",),
)
