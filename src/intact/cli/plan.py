"""``intact plan``: predict from measured costs how a cluster would run a model, before buying it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.bench import KIND, KindOption
from intact.cli.model_option import ModelArgument
from intact.cli.options import JsonOption, ThreadsOption
from intact.cli.output import bar, emit, new_table, note, out, show, size

if TYPE_CHECKING:
    from intact.measure.planning.plan import ClusterPlan, Demand, PlannedReplica

EXAMPLES = """\
Measure the cost of a step on this machine, as a table for the machines file
  intact plan -m smollm2-135m-instruct --measure
Find the best way to run a model on three machines
  intact plan -m ./model.gguf --machines examples/machines/three.toml
Plan for a model that is not here, on a hundred machines
  intact plan --shape llama-70b --machines examples/machines/hundred.toml --texts 16 --context 4096
Minimise the time per token, even if machines are left out
  intact plan --shape llama-8b --machines examples/machines/three.toml --goal latency
As JSON
  intact plan -m ./model.gguf --machines machines.toml --json | jq .expected

docs/cluster.md says what the estimate includes, and how it compares with measurements.
"""


def command(
    model: ModelArgument = "",
    machines: Annotated[
        Path | None,
        typer.Option("--machines", metavar="FILE", help="TOML file of machines and network.", show_default=False),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            metavar="NAME",
            help="Plan for the shape of a well-known model, such as llama-70b, instead of a real model.",
            show_default=False,
        ),
    ] = None,
    kind: KindOption = KIND,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine with MODEL, and print its table for the file.")
    ] = False,
    texts: Annotated[
        int, typer.Option("--texts", min=1, max=4096, help="Number of concurrent sequences per replica.")
    ] = 8,
    context: Annotated[
        int, typer.Option("--context", min=1, max=1 << 24, help="Tokens per sequence to reserve memory for.")
    ] = 2048,
    length: Annotated[int, typer.Option("--length", min=1, max=1 << 24, help="Tokens generated per sequence.")] = 256,
    goal: Annotated[
        Literal["tokens", "latency"],
        typer.Option("--goal", help="Maximise tokens per second over all machines, or minimise the time per token."),
    ] = "tokens",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Plan a cluster: partitions, replicas, memory and tokens per second of a model on the machines in a file."""
    if bool(model) == (shape is not None):
        raise ParameterError("give either MODEL or --shape NAME")
    if shape is None and kind != KIND:
        raise ParameterError("--type needs --shape NAME")
    if measure == (machines is not None):
        raise ParameterError("give --machines FILE, or use --measure to print the table of this machine for it")
    if measure:
        if shape is not None:
            raise ParameterError("--measure runs a model: give MODEL instead of --shape")
        _measure(model, threads, json)
        return
    assert machines is not None
    from intact.measure.planning.machines import read_machines
    from intact.measure.planning.plan import Demand
    from intact.measure.planning.search import choose_plan

    kinds, demand = read_machines(machines), Demand(texts, context, length)
    name, work = _work(model, shape, kind, context)
    with bar() as progress:
        task = progress.add_task("simulating", total=None)
        found = choose_plan(
            work, kinds, demand, goal, progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
    if json:
        emit(_document(name, demand, goal, found))
        return
    _print(name, demand, found, sum(kind.count for kind in kinds))


def _work(model: str, shape: str | None, kind: str, context: int) -> tuple[str, Any]:
    """Return the model's name and its cost model; raise if it cannot generate sequences of the requested length."""
    from intact.checkpoints.formats import open_checkpoint
    from intact.measure.planning.work import ModelWork
    from intact.models import build_program

    if shape is None:
        path = fetch.locate(model)
        name, program = path.name, build_program(open_checkpoint(path))
    else:
        from intact.measure.bench.shapes import random_checkpoint

        name, program = f"{shape} in {kind}", build_program(random_checkpoint(shape, kind))
    if program.is_encoder:
        raise ParameterError(
            f"{name} is an encoder, which generates no text and runs in one process, so there is nothing to plan"
        )
    if context > program.context:
        raise ParameterError(
            f"--context {context:,} is too large: {name} has positions for at most {program.context:,} tokens"
        )
    return name, ModelWork.of(program)


def _measure(model: str, threads: int | None, json: bool) -> None:
    import platform

    from intact._base.memory import usable
    from intact.executors.base import choose_threads
    from intact.measure.planning.machines import machine_toml
    from intact.measure.planning.measure import measure_rates

    path, count = fetch.locate(model), choose_threads(threads)
    with bar() as progress:
        task = progress.add_task("measuring", total=None)
        rates = measure_rates(
            path, count, lambda done, total: progress.update(task, completed=done, total=total, refresh=True)
        )
    memory = usable() or 0
    if json:
        emit({"model": path.name, "threads": count, "memory": memory, "seconds": rates._asdict()})
        return
    comment = f"{count} thread{'s' if count > 1 else ''}, {path.name}"
    typer.echo(machine_toml(platform.node() or "here", memory, rates, comment), nl=False)


def _print(name: str, demand: Demand, plan: ClusterPlan, machines: int) -> None:
    columns = "share", "needs", "of", "full", "busy"
    rows = new_table("replicas", "machine", *columns, right=("replicas", *columns), whole=columns)
    for replica, count in plan.replicas:
        alike = _alike(replica)
        for number, (rank, ranks) in enumerate(alike):
            rows.add_row(
                str(count) if not number else "",
                f"{rank.kind.name}" + (f" x {ranks}" if ranks > 1 else ""),
                str(rank.share),
                size(rank.needed),
                size(rank.kind.memory),
                f"{rank.needed / rank.kind.memory:.0%}",
                f"{rank.busy / replica.seconds:.0%}",
            )
    if plan.replicas:
        out().print(rows)
    for replica, count in plan.replicas:
        show(f"{count} x {len(replica.ranks)}{_way(replica)}: {_rate(replica)}")
    used = machines - sum(plan.unused.values())
    replicas = sum(count for _, count in plan.replicas)
    show(
        f"{name}, {demand.texts} x {demand.context:,} tokens a replica: ",
        (f"{plan.expected:,.1f} tokens/s", "bold"),
        f" expected ({plan.tokens:,.1f} without failures), "
        f"{replicas} replica{'s' * (replicas != 1)} on {used} of {machines} machine{'s' * (machines != 1)}",
    )
    for kind, why in plan.refused.items():
        note(f"{kind}: {why}")
    for kind, count in plan.unused.items():
        if kind not in plan.refused:
            note(f"{kind}: {count} left out, since they would not make the rest faster")
    for kind, why in plan.alone.items():
        if why and kind not in plan.refused:
            note(f"{kind}: {why}")
    for line in _commands(plan):
        show(line, style="dim")


def _alike(replica: PlannedReplica) -> list[tuple[Any, int]]:
    """Group consecutive ranks on machines of the same kind with the same share, and count each group."""
    found: list[tuple[Any, int]] = []
    for rank in replica.ranks:
        last = found[-1] if found else None
        if last and (last[0].kind.name, last[0].share) == (rank.kind.name, rank.share) and len(found) > 1:
            most = max(last[0], rank, key=lambda one: one.needed)
            found[-1] = most, last[1] + 1
        else:
            found.append((rank, 1))
    return found


def _way(replica: PlannedReplica) -> str:
    return f", {replica.way} parallel" if len(replica.ranks) > 1 else ""


def _rate(replica: PlannedReplica) -> str:
    network = f", {replica.bytes / 1e6:.1f} MB exchanged" if replica.bytes else ""
    failing = f", {1 - replica.available:.2%} of the time down" if replica.available < 1 else ""
    return (
        f"{replica.seconds * 1e3:,.1f} ms a step{network}: {replica.tokens:,.1f} tokens/s, "
        f"a prompt {replica.prompt:,.0f}{failing}"
    )


def _commands(plan: ClusterPlan) -> list[str]:
    """Return the commands that start the replicas, or none if the file lacks the address of a machine."""
    free = {rank.kind.name: list(rank.kind.addresses) for replica, _ in plan.replicas for rank in replica.ranks}
    lines = []
    for replica, count in plan.replicas:
        for _ in range(count):
            ranks = replica.ranks
            if any(not rank.kind.addresses for rank in ranks):
                return []
            places = [free[rank.kind.name].pop(0) for rank in ranks]
            others = list(zip(places, ranks, strict=True))[1:]
            lines += [f"intact shard -m MODEL --listen {place}" for place, _ in others]
            parts = ",".join([f"here*{ranks[0].share}", *(f"{place}*{rank.share}" for place, rank in others)])
            lines.append(
                f"intact serve MODEL{f' --{replica.way}-parallel {parts}' if others else ''}  # on {places[0]}"
            )
    return lines


def _document(name: str, demand: Demand, goal: str, plan: ClusterPlan) -> dict[str, Any]:
    return {
        "model": name,
        "demand": demand._asdict(),
        "goal": goal,
        "tokens": plan.tokens,
        "expected": plan.expected,
        "replicas": [
            {
                "count": count,
                "degree": len(replica.ranks),
                "way": replica.way,
                "seconds": replica.seconds,
                "tokens": replica.tokens,
                "expected": replica.expected,
                "prompt": replica.prompt,
                "bytes": replica.bytes,
                "available": replica.available,
                "ranks": [
                    {
                        "machine": rank.kind.name,
                        "share": rank.share,
                        "memory": {"needed": rank.needed, "weights": rank.weights, "cache": rank.cache}
                        | {"has": rank.kind.memory},
                        "busy": rank.busy,
                    }
                    for rank in replica.ranks
                ],
            }
            for replica, count in plan.replicas
        ],
        "unused": plan.unused,
        "alone": plan.alone,
        "refused": plan.refused,
        "commands": _commands(plan),
    }
