"""Seconds that one hypothetical machine would take for the tokens of each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import percent, settled, with_bounds
from intact.evaluate.report.machine import IdealMachine
from intact.evaluate.report.sections.base import (
    Omission,
    ReportSection,
    SectionBody,
    by_run,
    join_reasons,
    omission_notes,
)
from intact.stats.association import ratio_of_sums
from intact.stats.intervals import AMOUNTS, Interval

_NEEDED = ("tokens", "prefill", "sequential")


class IdealRuntime(NamedTuple):
    """Idealised seconds of one run.

    Attributes
    ----------
    machine : str
        The source of the rates.
    read_rate, write_rate : float
        Its tokens a second.
    read, written, in_a_row : float
        Tokens of a problem on average: read, written, and written one after the other.
    one_by_one, side_by_side : Interval
        Seconds of a problem if texts are written one after the other, and if those that can be are written together.
    per_right : float or None
        Seconds, side by side, for each right answer; None if none is right.
    """

    machine: str
    read_rate: float
    write_rate: float
    read: float
    written: float
    in_a_row: float
    one_by_one: Interval
    side_by_side: Interval
    per_right: float | None


def measure(arm: ReportArm, machine: IdealMachine) -> IdealRuntime | Omission:
    """Time a run on a machine, by the tokens that its records state."""
    costs = [record.cost for record in arm.records]
    if any(name not in cost for cost in costs for name in _NEEDED):
        return Omission("its records do not state the tokens that were read and those that were written in a row")
    if not any(cost["prefill"] for cost in costs):
        return Omission("the tokens of its prompts are not known, as of endpoints and of old files")
    problems: dict[str, list[tuple[float, float]]] = {}
    for record in arm.records:
        cost = record.cost
        both = (machine.seconds(cost["prefill"], cost[name]) for name in ("tokens", "sequential"))
        problems.setdefault(record.id, []).append((next(both), next(both)))
    if len(problems) < 2:
        return Omission("it has only one problem")
    sizes = [len(own) for own in problems.values()]
    one_by_one, side_by_side = (
        ratio_of_sums([sum(one[place] for one in own) for own in problems.values()], sizes, support=AMOUNTS)
        for place in (0, 1)
    )
    right = sum(bool(record.correct) for record in arm.records)
    read, written, in_a_row = (
        float(np.mean([cost[name] for cost in costs])) for name in ("prefill", "tokens", "sequential")
    )
    return IdealRuntime(
        machine.name,
        machine.read,
        machine.write,
        read,
        written,
        in_a_row,
        one_by_one,
        side_by_side,
        side_by_side.estimate * len(arm.records) / right if right else None,
    )


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, lambda arm: measure(arm, arm.machine))
    if not found:
        return join_reasons(lacking)
    machine = arms[0].machine
    rates = f"reads {settled(machine.read):,.4g} tokens and takes {settled(machine.write):,.4g} steps a second"
    blocks: list[Block] = [
        Paragraph(
            f"On a machine that {rates} ({machine.name}), a problem would take: "
            + "; ".join(f"{with_bounds(*one.side_by_side, form=_seconds)} s by {name}" for name, one in found.items())
            + ", texts that do not wait for each other being written side by side."
        )
    ]
    of = {arm.name: arm for arm in arms}
    rows = [
        [
            name, percent(sum(of[name].rates.values()) / len(of[name].rates)), f"{one.read:,.0f}",
            f"{one.written:,.0f}", f"{one.in_a_row:,.0f}", with_bounds(*one.one_by_one, form=_seconds),
            with_bounds(*one.side_by_side, form=_seconds),
            "none is right" if one.per_right is None else _seconds(one.per_right),
        ]
        for name, one in found.items()
    ]  # fmt: skip
    head = [
        "run", "right", "tokens read", "written", "in a row", "seconds, one by one", "seconds, side by side",
        "seconds for a right answer",
    ]  # fmt: skip
    blocks.append(Table(head, rows))
    blocks.append(
        Paragraph(
            "Seconds are tokens read over the one rate, and tokens written, or of these the ones in a row, over the "
            "other; a step takes as long for many texts as for one, and context costs nothing. So runs on different "
            "machines, and endpoints, are compared by what they ask for. --machine states other rates. In parentheses "
            "95% intervals over problems."
        )
    )
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _seconds(value: float) -> str:
    return f"{settled(value):,.3g}" if value < 100 else f"{settled(value):,.0f}"


SECTION = ReportSection("Idealised runtime", _make, ("arXiv 2305.02440, with a reading time proportional to tokens",))
