"""Accuracy as numbers grow, by kinds of error, and the digits that wrong numbers have wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import bounds, percent, points, with_bounds
from intact.evaluate.report.sections.base import Omission, ReportSection, SectionBody
from intact.stats.association import share_of_samples
from intact.stats.intervals import Interval
from intact.stats.paired import McNemar, mcnemar
from intact.tasks.score.numbers import as_number

LEVELLED = ("gsm8k_numbers", "gsm_ranges")
"""Tasks with the parameter `level`, the size of their numbers."""
DIGITS = 4
"""The fewest digits of a right number whose wrong answers are compared digit by digit."""
FEWEST = 10
"""The fewest wrong whole numbers of which digits are shown."""
PLACES = 7


class LevelFindings(NamedTuple):
    """A run at one size of numbers.

    Attributes
    ----------
    level : int
    right : Interval
        The share of right answers.
    against : McNemar or None
        Against the lowest level of the same run, problem by problem; None of that level itself, or if problems were
        asked several times.
    arithmetic, logical : float
        The shares of answers with wrong arithmetic alone, and of those that are wrong even with right arithmetic.
    """

    level: int
    right: Interval
    against: McNemar | None
    arithmetic: float
    logical: float


class DigitFindings(NamedTuple):
    """The digits of wrong whole numbers.

    Attributes
    ----------
    form : str
        How numbers are written in the questions.
    wrong : int
        Wrong whole numbers where the right one has `DIGITS` or more.
    other_length : float
        The share of them with another number of digits.
    places : list of float
        Of those with the right number of digits the share whose digit is wrong, from the last digit on.
    """

    form: str
    wrong: int
    other_length: float
    places: list[float]


def levels_of(arms: Sequence[ReportArm]) -> dict[str, list[LevelFindings]]:
    """Return by run and task what happens from its lowest level on; runs of one level have nothing to compare."""
    groups: dict[str, list[ReportArm]] = {}
    for arm in arms:
        if arm.about["name"] in LEVELLED and len(arm.rates) > 1:
            parameters = {name: value for name, value in arm.about["parameters"].items() if name != "level"}
            manifest = arm.run.manifest
            same = [manifest["models"], manifest["method"], manifest["budget"], manifest["seeds"], parameters]
            same += [arm.about["name"], arm.about.get("style"), arm.about.get("shots"), _form(arm)]
            groups.setdefault(json.dumps(same, sort_keys=True), []).append(arm)
    found = {}
    for own in groups.values():
        by_level = {int(arm.about["parameters"]["level"]): arm for arm in own}
        if len(by_level) < 2:
            continue
        lowest = by_level[min(by_level)]
        name = f"{lowest.run.manifest['method']['name']}, {lowest.about['name']}"
        while name in found:
            name += "'"
        found[name] = [_level(level, by_level[level], lowest) for level in sorted(by_level)]
    return found


def _level(level: int, arm: ReportArm, lowest: ReportArm) -> LevelFindings:
    first, own = _verdicts(lowest), _verdicts(arm)
    common = [name for name in own if name in first]
    once = all(len(one[name]) == 1 for one in (first, own) for name in common)
    against = None
    if arm is not lowest and common and once:
        against = mcnemar([own[name][0] for name in common], [first[name][0] for name in common])
    kinds = [
        sum(record.measures.get(kind, 0.0) for record in arm.records) / len(arm.records)
        for kind in ("arithmetic_error", "logical_error")
    ]
    right = share_of_samples([sum(one) for one in own.values()], [len(one) for one in own.values()])
    return LevelFindings(level, right, against, *kinds)


def _verdicts(arm: ReportArm) -> dict[str, list[bool]]:
    """Return verdicts by the place of a problem, which levels have in common."""
    found: dict[str, list[bool]] = {}
    for record in arm.records:
        found.setdefault(record.id.rpartition("/")[2].rpartition("-")[2], []).append(bool(record.correct))
    return found


def digits_of(arm: ReportArm) -> DigitFindings | None:
    """Return the digits that wrong whole numbers of a run have wrong; None if they are too few."""
    pairs = []
    for record in arm.records:
        answers = [one.answer for one in record.samples if not one.other_prompt and not one.correct]
        right = as_number(record.right)
        if right is None or right.denominator > 1 or abs(right) < 10 ** (DIGITS - 1):
            continue
        for text in answers:
            given = None if text is None else as_number(text)
            if given is not None and given.denominator == 1:
                pairs.append((str(abs(int(given)))[::-1], str(abs(int(right)))[::-1]))
    if len(pairs) < FEWEST:
        return None
    same = [(given, right) for given, right in pairs if len(given) == len(right)]
    places = []
    for place in range(PLACES):
        there = [given[place] != right[place] for given, right in same if place < len(right)]
        if there:
            places.append(sum(there) / len(there))
    return DigitFindings(_form(arm), len(pairs), 1 - len(same) / len(pairs), places)


def _form(arm: ReportArm) -> str:
    """Return how a task's questions write digits, which its label states."""
    options = arm.label.partition(":")[2].split(",")
    return next((one.partition("=")[2] for one in options if one.startswith("digits=")), "given")


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    levels = levels_of(arms)
    digits = {f"{arm.name}, {arm.label}": found for arm in arms if (found := digits_of(arm)) is not None}
    if not levels and not digits:
        tasks = " or ".join(LEVELLED)
        return Omission(
            f"no two runs of one setting are of different levels of {tasks}, and no run has {FEWEST} wrong whole "
            f"numbers of {DIGITS} digits or more"
        )
    return SectionBody([*_of_levels(levels), *_of_digits(digits)], {"levels": levels, "digits": digits})


def _of_levels(levels: dict[str, list[LevelFindings]]) -> Iterator[Block]:
    if not levels:
        return
    for name, own in levels.items():
        first, last = own[0], own[-1]
        words = f"{percent(first.right.estimate)} right at level {first.level}, {percent(last.right.estimate)} at "
        yield Paragraph(f"{name}: {words}level {last.level}.")
    yield Table(
        ["run", "level", "right", "points against the lowest", "wrong by arithmetic alone", "wrong by logic"],
        [
            [
                name, str(one.level), with_bounds(*one.right), _against(one.against), percent(one.arithmetic),
                percent(one.logical),
            ]
            for name, own in levels.items()
            for one in own
        ],
    )  # fmt: skip
    yield Paragraph(
        "The same problems with numbers of up to level + 1 digits; level 0 has the data's. An error is one of "
        "arithmetic alone if the answer is right once the text's equations are computed again. Points are paired, "
        "problem by problem (McNemar, Bonett and Price). Large numbers can make a story absurd."
    )


def _of_digits(digits: dict[str, DigitFindings]) -> Iterator[Block]:
    if not digits:
        return
    most = max(len(one.places) for one in digits.values())
    head = ["run, task", "digits in questions", "wrong whole numbers", "of another length"]
    names = ["last digit wrong", *[f"{place}th from the right" for place in range(2, most + 1)]]
    names = [name.replace("2th", "2nd").replace("3th", "3rd") for name in names]
    rows = [
        [
            name, one.form, f"{one.wrong:,}", percent(one.other_length), *map(percent, one.places),
            *[""] * (most - len(one.places)),
        ]
        for name, one in digits.items()
    ]  # fmt: skip
    yield Table([*head, *names], rows)
    yield Paragraph(
        f"Wrong whole numbers, of all texts, where the right one has {DIGITS} digits or more. If tokens cut numbers "
        "from the left, errors gather where the cuts of what is added do not meet; digits=grouped writes numbers with "
        "commas from the right. With tokens of single digits nothing of the kind is expected."
    )


def _against(one: McNemar | None) -> str:
    return "" if one is None else f"{points(one.difference)} ({bounds(one.low, one.high, points)})"


SECTION = ReportSection(
    "Numeric robustness",
    _make,
    (
        "arXiv 2502.08680, with equations computed again in place of a judge",
        "arXiv 2402.14903 for digits grouped from the right",
    ),
    all_tasks=True,
)
