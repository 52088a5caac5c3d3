"""Seconds that each run would take on a hypothetical machine, by the work of its own model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import percent, settled, with_bounds
from intact.evaluate.report.machine import IdealMachine, ModelRuntime, TokenWork
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
    source : str
        The source of the rates.
    machines : int
        The machines that serve its model.
    read_128, step : float
        Seconds of its model to read a prompt of 128 tokens, and of a step that writes the next token of one text.
    read, written, in_a_row : float
        Tokens of a problem on average: read, written, and written one after the other.
    one_by_one, side_by_side : Interval
        Seconds of a problem if texts are written one after the other, and if those that can be are written together.
    machine_seconds : float
        Seconds of a problem, side by side, times the machines.
    dollars : float or None
        Their price; None if a machine's price is not known.
    per_right : float or None
        Machine-seconds, side by side, for each right answer; None if none is right.
    """

    source: str
    machines: int
    read_128: float
    step: float
    read: float
    written: float
    in_a_row: float
    one_by_one: Interval
    side_by_side: Interval
    machine_seconds: float
    dollars: float | None
    per_right: float | None


def token_work(arm: ReportArm) -> TokenWork | None:
    """Return the work of a token of a run's model, or None if its operations were not counted.

    Multiply-adds are the run's own, over all tokens that were read and written. Of these the record with the fewest for
    a token, in which attention has the least part, tells the weights that a step reads, of the bits of the manifest.
    """
    counted = [
        (record.cost.get("operations", 0), record.cost["prefill"] + record.cost["tokens"]) for record in arm.records
    ]
    counted = [(operations, tokens) for operations, tokens in counted if tokens]
    if not counted or not all(operations for operations, _ in counted):
        return None
    bits = max(model.get("bits", 0) for model in arm.run.manifest["models"])
    if not bits:
        return None
    macs = sum(operations for operations, _ in counted) / sum(tokens for _, tokens in counted)
    return TokenWork(macs, min(operations / tokens for operations, tokens in counted) * bits / 8)


def measure(arm: ReportArm) -> IdealRuntime | Omission:
    """Time a run by its model's runtime, or by the work of its model on a machine."""
    costs = [record.cost for record in arm.records]
    if any(name not in cost for cost in costs for name in _NEEDED):
        return Omission("its records do not state the tokens that were read and those that were written in a row")
    if not any(cost["prefill"] for cost in costs):
        return Omission("the tokens of its prompts are not known, as of endpoints and of old files")
    runtime = _runtime(arm)
    if isinstance(runtime, Omission):
        return runtime
    problems: dict[str, list[tuple[float, float]]] = {}
    for record in arm.records:
        cost = record.cost
        alone = runtime.seconds(cost["prefill"], cost["tokens"])
        together = runtime.seconds(cost["prefill"], cost["sequential"], cost["tokens"])
        problems.setdefault(record.id, []).append((alone, together))
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
    busy = side_by_side.estimate * runtime.machines
    return IdealRuntime(
        runtime.name,
        runtime.machines,
        runtime.read(128),
        runtime.step,
        read=read,
        written=written,
        in_a_row=in_a_row,
        one_by_one=one_by_one,
        side_by_side=side_by_side,
        machine_seconds=busy,
        dollars=runtime.cost(side_by_side.estimate),
        per_right=busy * len(arm.records) / right if right else None,
    )


def _runtime(arm: ReportArm) -> ModelRuntime | Omission:
    """Return the runtime of a run's model."""
    if arm.machine is None:
        return Omission("no --machine is of its model, and none states a machine")
    if isinstance(arm.machine, ModelRuntime):
        return arm.machine
    assert isinstance(arm.machine, IdealMachine)
    work = token_work(arm)
    if work is None:
        return Omission(
            "the operations of its model are not counted, as of endpoints: --machine MODEL=read=RATE,write=RATE states "
            "its rates"
        )
    return arm.machine.runtime(work)


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, measure)
    if not found:
        return join_reasons(lacking)
    sources = " and ".join(dict.fromkeys(one.source for one in found.values()))
    blocks: list[Block] = [
        Paragraph(
            f"At {sources} a problem would take: "
            + "; ".join(f"{with_bounds(*one.side_by_side, form=_seconds)} s by {name}" for name, one in found.items())
            + ", texts that do not wait for each other being written side by side."
        )
    ]
    of = {arm.name: arm for arm in arms}
    rows = [
        [
            name, percent(sum(of[name].rates.values()) / len(of[name].rates)), f"{one.machines}",
            f"{_milliseconds(one.read_128)} and {_milliseconds(one.step)}", f"{one.read:,.0f}", f"{one.written:,.0f}",
            f"{one.in_a_row:,.0f}", with_bounds(*one.one_by_one, form=_seconds),
            with_bounds(*one.side_by_side, form=_seconds), _seconds(one.machine_seconds),
            "" if one.dollars is None else f"{settled(1000 * one.dollars):,.3g}",
            "none is right" if one.per_right is None else _seconds(one.per_right),
        ]
        for name, one in found.items()
    ]  # fmt: skip
    head = [
        "run", "right", "machines", "ms for a prompt of 128, and a step", "tokens read", "written", "in a row",
        "seconds, one by one", "seconds, side by side", "machine-seconds", "dollars for 1,000",
        "machine-seconds for a right answer",
    ]  # fmt: skip
    blocks.append(Table(head, rows))
    blocks.append(
        Paragraph(
            "Seconds are those of the prompt, linear in pieces, and of a step for each token after the first, by the "
            "rates of each run's own model. Where these follow from a machine, they do from the run's own "
            "multiply-adds, attention included, and from the weights that a step reads; of several models from their "
            "average. All that a problem reads counts as one prompt. Dollars are of a thousand problems, side by side. "
            "--machine states other machines, or rates of models. In parentheses 95% intervals over problems."
        )
    )
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _seconds(value: float) -> str:
    return f"{settled(value):,.3g}" if value < 100 else f"{settled(value):,.0f}"


def _milliseconds(seconds: float) -> str:
    return _seconds(1000 * seconds)


SECTION = ReportSection(
    "Idealised runtime",
    _make,
    ("arXiv 2305.02440; rates that follow from a machine are ours, from medians of its authors' logs",),
)
