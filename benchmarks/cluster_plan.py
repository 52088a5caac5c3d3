"""Compare the estimates of `intact plan` with measurements: rates of a model at degrees 1 and 2, and predictions.

    python benchmarks/cluster_plan.py qwen-coder-0.5b smollm2-135m [--degrees 1 2 3 4] [--stages 2 3 4] [--rounds 4]

The first model at degrees 1 and 2 gives the rates of one thread of this machine, and exchanges without a model those of
messages. They predict the first model at other degrees, the other models at all degrees, and pipelines of both. Ranks
run here in threads with real exchanges over sockets. For each part of a step, the minimum processor time over several
steps and rounds counts, and for equal parts the lower quartile (`intact.measure.planning.measure`), so that other work
on the machine has little effect. Each round includes all models, degrees and pipelines in turn. For a token of one
sequence, of eight sequences, and for a prompt of 128 tokens, it compares:

- the time that the busiest rank computes and exchanges, measured and predicted;
- the time of a whole step on as many machines, with --latency (microseconds, one way) and --gigabits, simulated from
  the measured parts and from the rates;
- the bytes that rank 0 sends and receives.

This is not a run on a real network: that part of the estimate is assumed, not measured. Errors over 15% have a star.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from common import machine, parser
from stage_times import StageTimes, least_stage_times, measure_stages

from intact.checkpoints.formats import open_checkpoint
from intact.measure.planning.machines import MachineKind, Rates
from intact.measure.planning.measure import (
    STEPS,
    CutTimes,
    RankTimes,
    count_messages,
    fit_cuts,
    least_times,
    measure_cut,
    measure_messages,
)
from intact.measure.planning.pipeline import simulate_pipeline
from intact.measure.planning.stages import PipelineWork, StagesWork
from intact.measure.planning.step import simulate_step
from intact.measure.planning.work import ModelWork, RankWork, Segment, StepRows
from intact.models import Program, build_program

TARGET = 0.15
NAMES = dict(zip(STEPS, ("1 text", "8 texts", "prompt"), strict=True))


class Comparison(NamedTuple):
    """The measured and predicted values for one model, kind of parallelism, degree and kind of step."""

    model: str
    way: str
    degree: int
    rows: StepRows
    busy: tuple[float, float]
    step: tuple[float, float]
    bytes: tuple[int, int]
    fitted: bool

    @property
    def errors(self) -> tuple[float, float]:
        """Relative errors for the busiest rank and for the step."""
        return self.busy[1] / self.busy[0] - 1, self.step[1] / self.step[0] - 1


def compare(model: str, degree: int, cut: CutTimes, network: MachineKind, fitted: bool) -> list[Comparison]:
    """Compare all kinds of steps at one degree."""
    found = []
    for rows, times in cut.ranks.items():
        works = [one.work for one in times]
        messages = count_messages(works)
        rates = network.rates
        foretold = [
            rates.seconds(one.work.total)
            + each.number * rates.message
            + each.bytes * rates.copy
            + sum(rates.exchange(rank, transfer.whole) for transfer in one.work.transfers)
            for rank, (one, each) in enumerate(zip(times, messages, strict=True))
        ]
        busy = max(one.busy for one in times), max(foretold)
        step = measured_step(network, times), simulate_step([network] * degree, works).seconds
        found.append(
            Comparison(model, "tensor", degree, rows, busy, step, (cut.moved[rows], messages[0].bytes), fitted)
        )
    return found


def measured_step(network: MachineKind, times: Sequence[RankTimes]) -> float:
    """Simulate a step with measured times: segments as nanoseconds of work, exchanges as their mean.

    An exchange's time is split between its messages and the rest in the proportion that the rates give.
    """
    works, kinds, rates = [], [], network.rates
    for one, messages in zip(times, count_messages([each.work for each in times]), strict=True):
        segments = tuple(Segment(round(seconds * 1e9), 0, 0) for seconds in one.segments)
        works.append(RankWork(segments, one.work.transfers, one.work.logits, one.work.plan))
        sent = messages.number * rates.message + messages.bytes * rates.copy
        rest = max(0.0, sum(one.exchanges) - sent) / max(1, len(one.exchanges))
        kinds.append(
            replace(network, rates=Rates(1e-9, 0.0, 0.0, rates.message, rates.copy, rest, rest, 0.0, rates.step))
        )
    return simulate_step(kinds, works).seconds


def compare_stages(
    model: str, program: Program, times: StageTimes, network: MachineKind, stages: int
) -> list[Comparison]:
    """Compare all kinds of steps of a pipeline with this many stages."""
    whole = ModelWork.of(program)
    counts, found = StagesWork(whole.whole or program, whole.sizes), []
    kinds, rates = [network] * stages, network.rates
    for rows, measured in times.steps.items():
        work = counts.step((1,) * stages, rows)
        foretold = simulate_pipeline(kinds, work)
        busy = [sum(rank.layers) + sum(rank.messages) for rank in measured.ranks]
        busy[0] += sum(measured.outer)
        parts, own = [], []
        for number, ranks in enumerate(work.parts):
            segments = (Segment(round(rank.layers[number] * 1e9), 0, 0) for rank in measured.ranks)
            parts.append(tuple(one._replace(segment=ns) for one, ns in zip(ranks, segments, strict=True)))
        for rank, one in enumerate(measured.ranks):
            sent = sum(
                rates.handle(size)
                for ranks in work.parts
                for other in (ranks[1:] if rank == 0 else [ranks[rank]])
                for size in (other.plan, other.entering, other.leaving)
            )
            rest = max(0.0, sum(one.messages) - sent) / len(one.messages)
            own.append(replace(network, rates=Rates(1e-9, 0, 0, rates.message, rates.copy, rest, rest, 0, rates.step)))
        outer = (Segment(round(seconds * 1e9), 0, 0) for seconds in measured.outer)
        step = simulate_pipeline(own, PipelineWork(*outer, tuple(parts))).seconds
        pair = max(busy), max(foretold.busy)
        moved = times.moved[rows], foretold.bytes
        found.append(Comparison(model, "pipeline", stages, rows, pair, (step, foretold.seconds), moved, False))
    return found


def inverse(seconds: float) -> float:
    """Return the rate in 10^9 per second if one takes this many seconds; infinity for 0 seconds."""
    return 1e-9 / seconds if seconds else float("inf")


def main() -> None:
    """Measure, fit, predict and print."""
    arguments = parser(__doc__, text=False)
    arguments.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4])
    arguments.add_argument("--stages", type=int, nargs="*", default=[2, 3, 4])
    arguments.add_argument("--steps", type=float, default=0.3, help="multiplies the numbers of steps in `STEPS`")
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--latency", type=float, default=30.0)
    arguments.add_argument("--gigabits", type=float, default=10.0)
    options = arguments.parse_args()
    steps = {rows: max(2, round(options.steps * count)) for rows, count in STEPS.items()}
    programs = {path.name: build_program(open_checkpoint(path)) for path in options.models}
    rounds: dict[tuple[str, int], list[CutTimes]] = {}
    piped: dict[tuple[str, int], list[StageTimes]] = {}
    for _ in range(options.rounds):
        for name, program in programs.items():
            for degree in options.degrees:
                found = measure_cut(program, (1,) * degree, steps=steps)
                rounds.setdefault((name, degree), []).append(found)
            for stages in options.stages:
                piped.setdefault((name, stages), []).append(measure_stages(program, stages, steps))
    cuts = {key: least_times(several) for key, several in rounds.items()}
    first = options.models[0].name
    fitted = [cut for (model, degree), cut in cuts.items() if model == first and degree <= 2]
    rates = fit_cuts(fitted, 0.0, measure_messages())
    network = MachineKind("this", 1, 0, rates, options.latency * 1e-6, options.gigabits * 1e9 / 8)
    found = [
        one
        for (model, degree), cut in cuts.items()
        for one in compare(model, degree, cut, network, model == first and degree <= 2)
    ]
    for (model, stages), several in piped.items():
        found += compare_stages(model, programs[model], least_stage_times(several), network, stages)
    logits = {(model, rows): set[bytes]() for model in programs for rows in STEPS}
    for (model, _), one in (*cuts.items(), *((key, several[0]) for key, several in piped.items())):
        for rows, data in one.logits.items():
            logits[model, rows].add(data)
    equal = all(len(datas) == 1 for datas in logits.values())
    print(" · ".join(map(str, (*machine().values(), "one thread a rank"))))
    print(
        f"rates from {first} at degrees 1 and 2: {inverse(rates.macs):.0f} G multiply-adds/s, "
        f"{inverse(rates.bytes):.1f} GB/s, {rates.operation * 1e6:.1f} µs an operation, "
        f"{rates.message * 1e6:.0f} µs a message, {inverse(rates.copy):.2f} GB/s of messages, "
        f"{rates.hub * 1e6:.0f} µs an exchange on rank 0, {rates.spoke * 1e6:.0f} on others, "
        f"{inverse(rates.row):.2f} GB/s of rows"
    )
    print(f"logits equal at all degrees and stages: {equal}")
    print(
        "model                 way       degree  step     busiest ms (foretold)   step ms (foretold)      kB (foretold)"
    )
    for one in found:
        busy, step = ([1e3 * value for value in pair] for pair in (one.busy, one.step))
        marks = ["*" if abs(error) > TARGET else " " for error in one.errors]
        print(
            f"{one.model:21.21} {one.way:8} {one.degree:6}  {NAMES[one.rows]:7}"
            f" {busy[0]:8.1f} {busy[1]:8.1f} {one.errors[0]:+5.0%}{marks[0]}"
            f" {step[0]:8.1f} {step[1]:8.1f} {one.errors[1]:+5.0%}{marks[1]}"
            f" {one.bytes[0] / 1e3:9,.0f} {one.bytes[1] / 1e3:9,.0f}{'  fitted' if one.fitted else ''}"
        )
    for what, chosen in (
        ("the fitted ones", [one for one in found if one.fitted]),
        ("its other degrees", [one for one in found if one.model == first and one.way == "tensor" and not one.fitted]),
        ("other models", [one for one in found if one.model != first and one.way == "tensor"]),
        ("its pipelines", [one for one in found if one.model == first and one.way == "pipeline"]),
        ("pipelines of other models", [one for one in found if one.model != first and one.way == "pipeline"]),
    ):
        for place, part in enumerate(("busiest rank", "step")):
            errors = [abs(one.errors[place]) for one in chosen]
            if errors:
                within = sum(error <= TARGET for error in errors)
                print(
                    f"{what}, {part}: error {statistics.median(errors):.1%} in the median, {max(errors):.1%} at most, "
                    f"{within} of {len(errors)} within {TARGET:.0%}"
                )


if __name__ == "__main__":
    main()
