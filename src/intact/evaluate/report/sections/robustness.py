"""Accuracy as numbers grow, by kind of error, and which digits of wrong numbers are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import percent, points, with_bounds
from intact.evaluate.report.sections.base import Arms, OmittedError, ReportSection, SectionBody
from intact.stats.association import share_of_samples
from intact.stats.intervals import Interval
from intact.stats.paired import McNemar, mcnemar
from intact.tasks.score.numbers import as_number

LEVELLED = ("gsm8k_numbers", "gsm_ranges")
"""Tasks whose `level` parameter sets the size of numbers."""
DIGITS = 4
"""Minimum number of digits in the right number for wrong answers to be compared digit by digit."""
FEWEST = 10
"""Minimum number of wrong whole numbers for their digits to be shown."""
PLACES = 7


class LevelFindings(NamedTuple):
    """The accuracy of a run at one size of numbers.

    Attributes
    ----------
    level : int
    right : Interval
        The share of right answers.
    against : McNemar or None
        The comparison with the lowest level of the same run, problem by problem; None for that level itself, or if
        problems were asked more than once.
    arithmetic, logical : float
        The shares of answers that are wrong only because of arithmetic, and that are wrong even with correct
        arithmetic.
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
        The notation of numbers in the questions.
    wrong : int
        Number of wrong whole numbers where the right one has at least `DIGITS` digits.
    other_length : float
        The share of them with a different number of digits.
    places : list of float
        Among those with the right number of digits, the share with a wrong digit, by place, starting from the last
        digit.
    """

    form: str
    wrong: int
    other_length: float
    places: list[float]


def levels_of(arms: Arms) -> dict[str, list[LevelFindings]]:
    """Return the findings by run and task, in ascending order of levels; runs with one level are left out."""
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
    """Return verdicts by the number of a problem, which is the same at all levels."""
    found: dict[str, list[bool]] = {}
    for record in arm.records:
        found.setdefault(record.id.rpartition("/")[2].rpartition("-")[2], []).append(bool(record.correct))
    return found


def digits_of(arm: ReportArm) -> DigitFindings | None:
    """Return the wrong digits of a run's wrong whole numbers; None if there are too few."""
    pairs = [
        (given, right)
        for record in arm.records
        if len(right := _digits(record.right)) >= DIGITS
        for one in record.samples
        if not one.other_prompt and not one.correct and (given := _digits(one.answer))
    ]
    if len(pairs) < FEWEST:
        return None
    same = [(given, right) for given, right in pairs if len(given) == len(right)]
    places = []
    for place in range(PLACES):
        there = [given[place] != right[place] for given, right in same if place < len(right)]
        if there:
            places.append(sum(there) / len(there))
    return DigitFindings(_form(arm), len(pairs), 1 - len(same) / len(pairs), places)


def _digits(text: str | None) -> str:
    """Return the digits of a whole number, from the last to the first; an empty string if it is not a whole number."""
    number = None if text is None else as_number(text)
    return "" if number is None or number.denominator > 1 else str(abs(int(number)))[::-1]


def _form(arm: ReportArm) -> str:
    """Return the notation of digits in a task's questions, as stated in its label."""
    options = arm.label.partition(":")[2].split(",")
    return next((one.partition("=")[2] for one in options if one.startswith("digits=")), "given")


def _make(arms: Arms) -> SectionBody:
    levels = levels_of(arms)
    digits = {f"{arm.name}, {arm.label}": found for arm in arms if (found := digits_of(arm)) is not None}
    if not levels and not digits:
        tasks = " or ".join(LEVELLED)
        raise OmittedError(
            f"no two runs with the same setting have different levels of {tasks}, and no run has {FEWEST} wrong whole "
            f"numbers of {DIGITS} digits or more"
        )
    return SectionBody([*_of_levels(levels), *_of_digits(digits)], {"levels": levels, "digits": digits})


def _of_levels(levels: dict[str, list[LevelFindings]]) -> Iterator[Block]:
    for name, own in levels.items():
        first, last = own[0], own[-1]
        words = f"{percent(first.right.estimate)} right at level {first.level}, {percent(last.right.estimate)} at "
        yield Paragraph(f"{name}: {words}level {last.level}.")
    yield from table(
        (
            {
                "run": name,
                "level": str(one.level),
                "right": with_bounds(one.right),
                "points against the lowest": with_bounds(one.against and one.against.interval, points),
                "wrong by arithmetic alone": percent(one.arithmetic),
                "wrong by logic": percent(one.logical),
            }
            for name, own in levels.items()
            for one in own
        ),
        "The same problems with numbers of up to level + 1 digits; level 0 has the data's. An error is one of "
        "arithmetic alone if the answer is right once the text's equations are computed again. Points are paired, "
        "problem by problem (McNemar, Bonett and Price). Large numbers can make a story absurd.",
    )


def _of_digits(digits: dict[str, DigitFindings]) -> Iterator[Block]:
    most = max((len(one.places) for one in digits.values()), default=0)
    ordinals = {2: "2nd", 3: "3rd"}
    columns = ["last digit wrong", *(f"{ordinals.get(at, f'{at}th')} from the right" for at in range(2, most + 1))]
    return table(
        (
            {
                "run, task": name,
                "digits in questions": one.form,
                "wrong whole numbers": f"{one.wrong:,}",
                "of another length": percent(one.other_length),
            }
            | dict(zip_longest(columns, map(percent, one.places), fillvalue=""))
            for name, one in digits.items()
        ),
        f"Wrong whole numbers, of all texts, where the right one has {DIGITS} digits or more. If tokens cut numbers "
        "from the left, errors gather where the cuts of what is added do not meet; digits=grouped writes numbers with "
        "commas from the right. With tokens of single digits nothing of the kind is expected.",
    )


SECTION = ReportSection(
    "Numeric robustness",
    210,
    _make,
    (
        "arXiv 2502.08680, with equations computed again in place of a judge",
        "arXiv 2402.14903 for digits grouped from the right",
    ),
    all_tasks=True,
)
