"""``intact bench``: measure the speed of a model on this machine, and profile it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from intact._base.errors import ParameterError
from intact._base.markup.render import visible
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import ModelArgument
from intact.cli.options import (
    DrafterOption,
    DraftModelOption,
    JsonOption,
    KvOption,
    PipelineParallelOption,
    TensorParallelOption,
    ThreadsOption,
    WeightsMemoryOption,
    check_output,
    coded,
)
from intact.cli.output import bar, emit, new_table, note, out, show, spinner
from intact.cli.pictures import check_plot, save_picture

if TYPE_CHECKING:
    from intact.executors.profile import MachineLimits
    from intact.library import Model
    from intact.measure.bench.passage import Passage
    from intact.measure.bench.profile import Profile
    from intact.measure.bench.speed import Measurement
    from intact.measure.bench.workloads import Workload

EXAMPLES = """\
All workloads: prompt, one stream, samples of one prompt, forks, a mixed load
  intact bench -m smollm2-135m-instruct
Only some workloads, with more repeats and a plot
  intact bench -m ./model.gguf --only samples --only mixed --repeats 9 --plot speed.png
The time of each operation of a step
  intact bench -m ./model.gguf --only prompt --profile
The speed of a model of another size; the same model as a file for other programs
  intact bench --shape llama-8b --only stream
  intact bench --shape llama-8b --gguf llama-8b.gguf
For programs
  intact bench --json | jq '.figures[] | {what, unit, median}'

Close other programs first. The table gives the median over the repeats, and the range.
"""
KIND = "Q4_0"
"""Default weight type for --shape."""
KindOption = Annotated[str, typer.Option("--type", metavar="TYPE", help="Weight type for --shape.")]
TABLE, BAR = 76, 24
"""Width in columns of the table without bars, and of the longest bar."""


def command(
    model: ModelArgument = DEFAULT,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            metavar="NAME",
            help="Measure random weights in the shape of a well-known model, such as llama-8b, instead of a model.",
            show_default=False,
        ),
    ] = None,
    kind: KindOption = KIND,
    gguf: Annotated[
        Path | None,
        typer.Option(
            "--gguf",
            metavar="FILE",
            help="Only write the model of --shape to a file, for use with other programs.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="WHAT",
            help="prompt, stream, samples, forks or mixed; repeatable.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Number of measured rounds, after one warm-up round.")
    ] = 3,
    profile: Annotated[bool, typer.Option("--profile", help="Also profile the operations of one step.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Save a plot of the rates.", show_default=False)
    ] = None,
    threads: ThreadsOption = None,
    kv: KvOption = None,
    drafter: DrafterOption = None,
    draft_model: DraftModelOption = None,
    tensor_parallel: TensorParallelOption = None,
    pipeline_parallel: PipelineParallelOption = None,
    weights_memory: WeightsMemoryOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast a model runs on this machine."""
    from intact.measure.bench.passage import Passage
    from intact.measure.bench.speed import choose, measure

    choose(only, 1 << 30)  # raises before the model is loaded
    check_output("--plot", plot)
    check_output("--gguf", gguf)
    if plot is not None:
        check_plot(plot)
    if shape is None and (gguf is not None or kind != KIND):
        raise ParameterError("--gguf and --type need --shape NAME")
    if shape is not None and model != DEFAULT:
        raise ParameterError(f"--shape {shape} creates a model: leave out {model}")
    if shape is not None and draft_model is not None:
        raise ParameterError(
            f"--shape {shape} creates a random model, for which no draft model is useful: leave out --draft-model"
        )
    several = {"--tensor-parallel": tensor_parallel, "--pipeline-parallel": pipeline_parallel}
    cut_by = next((option for option, value in several.items() if value is not None), None)
    if shape is not None and cut_by is not None:
        raise ParameterError(f"--shape {shape} creates a model for one process: leave out {cut_by}")
    if shape is not None and weights_memory is not None:
        raise ParameterError(
            f"--weights-memory reads a model from disk: write {shape} with --gguf FILE, and measure that file"
        )
    if gguf is not None and shape is not None:
        _write(shape, kind, gguf)
        return
    if profile and cut_by is not None:
        raise ParameterError(f"--profile measures the operations of a single process: leave out {cut_by}")
    if shape is None:
        own: dict[str, Any] = {"drafter": drafter, "draft_model": draft_model}
        own |= {"tensor_parallel": tensor_parallel, "pipeline_parallel": pipeline_parallel}
        own |= {} if weights_memory is None else {"weights_memory": weights_memory}
        loaded = fetch.load(model, coded("int8", kv), threads, **own)
    else:
        loaded = _random(shape, kind, threads, coded("int8", kv), drafter=drafter or "auto")
    model = model if shape is None else f"{shape} in {kind}, random"
    workloads, left_out = choose(only, loaded.context)
    for workload in left_out:
        note(f"left out: {workload.title} ({workload.positions} positions, the context has {loaded.context})")
    from rich.progress import MofNCompleteColumn

    passage = Passage(loaded.tokenizer)
    with bar(MofNCompleteColumn(), still=True) as progress:
        task = progress.add_task("warming up", total=len(workloads) * (repeats + 1))

        def advance(done: int, what: Any) -> None:
            title = "warming up" if done < len(workloads) else what.title
            progress.update(task, completed=done, description=title, refresh=True)

        figures = measure(loaded, workloads, repeats, advance, passage=passage)
    profiles, limits = _profiles(loaded, workloads, passage) if profile else ([], None)
    if plot is not None:
        save_plot(figures, plot, model)
    facts = loaded.info()
    if json:
        emit(_document(model, facts, repeats, figures) | _profiles_document(profiles, limits))
        return
    show(f"{loaded.path.name}: {facts['tier']}, {facts['threads']} threads; median of {repeats}", style="dim")
    console = out()
    console.print(table(figures, min(BAR, console.width - TABLE) if console.is_terminal else 0))
    for found in profiles:
        _print_profile(found, limits, facts["threads"])
    if limits:
        rates = f"{limits.macs / 1e9:.0f} G multiply-adds/s of a thread, {limits.bytes / 1e9:.1f} GB/s"
        show(f"limits measured: {rates}", style="dim")


def _random(shape: str, kind: str, threads: int | None, profile: str, drafter: str) -> Model:
    import intact
    from intact.measure.bench.shapes import random_checkpoint

    checkpoint = random_checkpoint(shape, kind)
    with spinner(f"making {checkpoint.path}"):
        return intact.load(checkpoint, profile, threads, drafter=drafter)


def _write(shape: str, kind: str, path: Path) -> None:
    from intact.measure.bench.shapes import random_checkpoint, write_random

    if path.exists():
        raise ParameterError(f"--gguf: {path} already exists; give a new name, or remove it")
    checkpoint = random_checkpoint(shape, kind)
    with spinner(f"writing {path.name}"):
        write_random(checkpoint, path)
    note(f"wrote {path}: {path.stat().st_size / 1e9:.2f} GB")


def _profiles(model: Any, workloads: list[Workload], passage: Passage) -> tuple[list[Profile], MachineLimits]:
    from intact.measure.bench import profile

    chosen = profile.representative(workloads)
    with bar(still=True) as progress:
        task = progress.add_task("profiling", total=len(chosen))
        found = []
        for workload in chosen:
            progress.update(task, description=f"profiling {workload.title}", refresh=True)
            found.append(profile.profile(model, workload, passage))
            progress.advance(task)
    return found, profile.limits(model)


def _print_profile(profile: Profile, limits: Any, threads: int) -> None:
    parts = sorted(profile.calls.items(), key=lambda item: -item[1])
    shares = [f"{name} {seconds / profile.seconds:.1%}" for name, seconds in parts if seconds > profile.seconds / 1000]
    python = f"Python {profile.python / profile.seconds:.1%}"
    show((profile.title, "bold"), f": {profile.seconds:.3f} s; {', '.join([*shares, python])}")
    numbers = "share", "waiting", "µs a call", "G MAC/s", "GB/s", "of the limit"
    rows = new_table("operation of step", *numbers, right=numbers, whole=numbers)
    total = sum(record.seconds for record in profile.records) or 1.0
    for record in sorted(profile.records, key=lambda record: -record.seconds):
        seconds = record.seconds or 1e-9
        bound = record.macs or record.bytes
        rows.add_row(
            f"{record.kind} [dim]{record.label}[/dim]",
            f"{record.seconds / total:.1%}",
            f"{record.waiting / seconds:.0%}",
            digits(record.seconds / max(record.calls, 1) * 1e6),
            digits(record.macs / seconds / 1e9) if record.macs else "",
            digits(record.bytes / seconds / 1e9) if record.bytes else "",
            f"{limits.fraction(record, threads):.0%}" if bound else "",
        )
    out().print(rows)


def _profiles_document(profiles: list[Profile], limits: MachineLimits | None) -> dict[str, Any]:
    """Return profiles as JSON values; empty without measured limits."""
    found = [
        {
            "what": profile.title,
            "seconds": profile.seconds,
            "native": profile.calls,
            "python": profile.python,
            "operations": [record._asdict() for record in profile.records],
        }
        for profile in profiles
    ]
    return {} if limits is None else {"limits": limits._asdict(), "profiles": found}


def table(figures: list[Measurement], width: int = 0) -> Table:
    """Return a table of measurements, with bars that compare the rates if there is room for them."""
    numbers = "median", "least to most"
    rows = new_table("what", "median", "", "least to most", right=numbers, whole=("what", "", *numbers))
    if width >= 8:
        rows.add_column("", style="cyan", no_wrap=True)
    longest = max((figure.median for figure in figures if figure.unit == "tokens/s"), default=0.0)
    title = ""
    for figure in figures:
        if figure.part and figure.what != title:
            rows.add_row(figure.what)
        title = figure.what
        factor, unit = scale(figure.median, figure.unit)
        median, low, high = (
            digits(value * factor) if unit else f"{value:,.0f}" for value in (figure.median, figure.low, figure.high)
        )
        row = [f"  {figure.part}" if figure.part else title, f"[bold]{median}[/bold]", unit, f"{low} to {high}"]
        if width >= 8:
            row.append(_bar(figure.median / longest * width) if figure.unit == "tokens/s" and longest else "")
        rows.add_row(*row)
    return rows


def _bar(length: float) -> str:
    eighths = round(length * 8)
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")


def scale(value: float, unit: str) -> tuple[float, str]:
    """Return a factor and a unit that suit a value, such as milliseconds or kilobytes."""
    steps = {"s": ((1.0, "s"), (1e3, "ms"), (1e6, "µs")), "B": ((1e-9, "GB"), (1e-6, "MB"), (1e-3, "kB"), (1.0, "B"))}
    scales = steps.get(unit, ((1.0, unit),))
    return next((s for s in scales if value * s[0] >= 1), scales[-1])


def digits(value: float) -> str:
    """Format a number to three digits: ``1,720``, ``49.3``, ``0.420``."""
    return f"{value:,.0f}" if value >= 99.95 or value == 0 else f"{value:#.3g}"


def _document(model: str, facts: dict[str, Any], repeats: int, figures: list[Measurement]) -> dict[str, Any]:
    import intact
    from intact.cli.info import installation

    return {
        "model": model,
        "version": intact.__version__,
        "machine": {key: installation()[key] for key in ("cores", "memory", "machine", "python")},
        "executor": {key: facts[key] for key in ("executor", "tier", "threads", "weight_bytes", "numerics")},
        "repeats": repeats,
        "figures": [
            {name: getattr(figure, name) for name in ("group", "what", "part", "unit", "median")}
            | {"least": figure.low, "most": figure.high, "values": list(figure.values)}
            for figure in figures
        ],
    }


def save_plot(figures: list[Measurement], path: Path, title: str) -> None:
    """Save a bar chart of the rates with their spread."""
    from matplotlib.figure import Figure as Canvas

    rates = [figure for figure in figures if figure.unit == "tokens/s"][::-1]
    canvas = Canvas(figsize=(8, 1 + 0.45 * len(rates)), layout="constrained")
    axis = canvas.subplots()
    medians = [figure.median for figure in rates]
    spread = [[f.median - f.low for f in rates], [f.high - f.median for f in rates]]
    bars = axis.barh([figure.what for figure in rates], medians, 0.6, xerr=spread, capsize=3, color="#1f6f8b")
    axis.bar_label(bars, [f"{median:,.0f}" for median in medians], padding=4)
    axis.set_xlabel("tokens a second")
    axis.set_title(visible(title))
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)
    save_picture(canvas, path)
