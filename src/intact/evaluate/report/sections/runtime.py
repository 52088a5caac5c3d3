"""Seconds that each run would take on a hypothetical machine, computed from its own model's work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import percent, settled, whole, with_bounds
from intact.evaluate.report.machine import ModelRuntime, TokenWork
from intact.evaluate.report.sections.base import Arms, OmittedError, section_by_run
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
        Number of machines that serve its model.
    read_128, step : float
        Seconds that its model takes to process a prompt of 128 tokens, and to generate the next token of one sequence.
    read, written, in_a_row : float
        Mean tokens per problem: read, generated, and generated sequentially.
    one_by_one, side_by_side : Interval
        Seconds per problem if completions are generated one after another, and if independent ones are generated
        together.
    machine_seconds : float
        Seconds per problem, side by side, times the number of machines.
    dollars : float or None
        The price of the machine-seconds; None if a machine's price is not known.
    per_right : float or None
        Machine-seconds, side by side, for each right answer; None if there is no right answer.
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
    """Return the work per token of a run's model, or None if its operations were not counted.

    Multiply-adds are the run's own, averaged over all tokens read and generated. The record with the fewest
    multiply-adds per token, where attention contributes least, determines the number of weights that a step reads; the
    manifest states their bits.
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


def measure(arm: ReportArm) -> IdealRuntime:
    """Time a run from its model's runtime, or from the work of its model on a machine."""
    costs = [record.cost for record in arm.records]
    if any(name not in cost for cost in costs for name in _NEEDED):
        raise OmittedError("its records do not state how many tokens were read and how many were written sequentially")
    if not any(cost["prefill"] for cost in costs):
        raise OmittedError("the numbers of prompt tokens are unknown, as for endpoints and old files")
    runtime = _runtime(arm)
    problems: dict[str, list[Mapping[str, int]]] = {}
    for record in arm.records:
        problems.setdefault(record.id, []).append(record.cost)
    if len(problems) < 2:
        raise OmittedError("it has only one problem")
    sizes = [len(own) for own in problems.values()]
    one_by_one, side_by_side = (
        ratio_of_sums(
            [
                sum(runtime.seconds(cost["prefill"], cost[steps], cost["tokens"]) for cost in own)
                for own in problems.values()
            ],
            sizes,
            support=AMOUNTS,
        )
        for steps in ("tokens", "sequential")
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


def _runtime(arm: ReportArm) -> ModelRuntime:
    """Return the runtime of a run's model."""
    if arm.machine is None:
        raise OmittedError("no --machine is for its model, and none describes a machine")
    if isinstance(arm.machine, ModelRuntime):
        return arm.machine
    work = token_work(arm)
    if work is None:
        raise OmittedError(
            "the operations of its model are not counted, as for endpoints: give its rates with --machine "
            "MODEL=read=RATE,write=RATE"
        )
    return arm.machine.runtime(work)


def _show(found: Mapping[str, IdealRuntime], arms: Arms) -> Iterator[Block]:
    sources = " and ".join(dict.fromkeys(one.source for one in found.values()))
    seconds = "; ".join(f"{with_bounds(one.side_by_side, _seconds)} s by {name}" for name, one in found.items())
    yield Paragraph(
        f"At {sources} a problem would take: {seconds}, texts that do not wait for each other being written side by "
        "side."
    )
    right = {arm.name: sum(arm.rates.values()) / len(arm.rates) for arm in arms}
    yield from table(
        (
            {
                "run": name,
                "right": percent(right[name]),
                "machines": f"{one.machines}",
                "ms for a prompt of 128, and a step": " and ".join(
                    _seconds(1000 * seconds) for seconds in (one.read_128, one.step)
                ),
                "tokens read": whole(one.read),
                "written": whole(one.written),
                "in a row": whole(one.in_a_row),
                "seconds, one by one": with_bounds(one.one_by_one, _seconds),
                "seconds, side by side": with_bounds(one.side_by_side, _seconds),
                "machine-seconds": _seconds(one.machine_seconds),
                "dollars for 1,000": "" if one.dollars is None else f"{settled(1000 * one.dollars):,.3g}",
                "machine-seconds for a right answer": (
                    "none is right" if one.per_right is None else _seconds(one.per_right)
                ),
            }
            for name, one in found.items()
        ),
        "Seconds are those of the prompt, linear in pieces, and of a step for each token after the first, by the "
        "rates of each run's own model. Where these follow from a machine, they do from the run's own "
        "multiply-adds, attention included, and from the weights that a step reads; of several models from their "
        "average. All that a problem reads counts as one prompt. Dollars are of a thousand problems, side by side. "
        "--machine states other machines, or rates of models. In parentheses 95% intervals over problems.",
    )


def _seconds(value: float) -> str:
    return f"{settled(value):,.3g}" if value < 100 else f"{settled(value):,.0f}"


SECTION = section_by_run(
    "Idealised runtime",
    60,
    measure,
    _show,
    sources=("arXiv 2305.02440; rates that follow from a machine are ours, from medians of its authors' logs",),
)
