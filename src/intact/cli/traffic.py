"""``intact traffic``: generate traffic, and replay it against a server."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intact._base.errors import ParameterError
from intact.cli.bench import digits
from intact.cli.options import JsonOption, check_output
from intact.cli.output import bar, emit, fail, new_table, note, out, show
from intact.cli.pictures import check_plot, save_picture
from intact.cli.seeds import one_seed, seed_option
from intact.measure.bench.traffic import BLOCK, TrafficLaw

if TYPE_CHECKING:
    from intact.measure.bench.replay import Summary, TimedAnswer

MAKE_EXAMPLES = """\
A hundred requests from a Poisson process, two a second
  intact traffic make traffic.jsonl --request-rate 2
Bursts of long prompts that begin with one of twenty system prompts of 64 tokens
  intact traffic make traffic.jsonl --burstiness 0.3 --input-len 400 --prefixes 20 --block 64
"""
REPLAY_EXAMPLES = """\
Against a server on this machine
  intact serve smollm2-135m-instruct &
  intact traffic replay traffic.jsonl --url http://127.0.0.1:8000/v1
Your own log ten times as fast, counting requests within 500 ms to the first token and 50 ms per token
  intact traffic replay log.csv --url http://127.0.0.1:8000/v1 --speed 10 --goodput ttft=500 --goodput tpot=50
Each request's times in a file, and a plot of the latencies
  intact traffic replay traffic.jsonl --url http://127.0.0.1:8000/v1 --out times.jsonl --plot latency.png

File formats: Mooncake's traces (JSON lines), or CSV files of Azure's LLM inference traces or BurstGPT.
"""
_LAW = TrafficLaw()
BlockOption = Annotated[int, typer.Option("--block", min=1, help="Tokens per block of hash_ids.")]


def make(
    file: Annotated[Path, typer.Argument(help="Output file.")],
    requests: Annotated[int, typer.Option("--requests", min=1, help="Number of requests.")] = _LAW.requests,
    request_rate: Annotated[
        float, typer.Option("--request-rate", help="Mean requests per second.")
    ] = _LAW.request_rate,
    burstiness: Annotated[
        float,
        typer.Option("--burstiness", help="Shape of the gamma distribution of gaps: 1 is Poisson, less is burstier."),
    ] = _LAW.burstiness,
    input_len: Annotated[int, typer.Option("--input-len", help="Median tokens per prompt.")] = _LAW.input_len,
    output_len: Annotated[int, typer.Option("--output-len", help="Median tokens per answer.")] = _LAW.output_len,
    spread: Annotated[
        float, typer.Option("--spread", help="Standard deviation of the logarithm of lengths; 0 makes all equal.")
    ] = _LAW.spread,
    prefixes: Annotated[int, typer.Option("--prefixes", help="Number of shared prompt prefixes.")] = _LAW.prefixes,
    prefix_blocks: Annotated[int, typer.Option("--prefix-blocks", help="Blocks per prefix.")] = _LAW.prefix_blocks,
    block: BlockOption = _LAW.block,
    seed: Annotated[str, seed_option("Sampling seed.")] = str(_LAW.seed),
    json: JsonOption = False,
) -> None:
    """Generate a traffic file: arrival times of requests, and the lengths of prompts and answers."""
    from intact.measure.bench.traffic import make_traffic, write_traffic

    if file.exists():
        raise ParameterError(f"{file} already exists; give a new name, or remove it")
    lengths = requests, request_rate, burstiness, input_len, output_len, spread
    law = TrafficLaw(*lengths, prefixes, prefix_blocks, block, one_seed(seed, "a file of traffic"))
    arrivals = make_traffic(law)
    write_traffic(file, arrivals)
    facts = {
        "file": str(file),
        "requests": len(arrivals),
        "seconds": round(arrivals[-1].timestamp / 1000, 3),
        "input_tokens": sum(arrival.input_length for arrival in arrivals),
        "output_tokens": sum(arrival.output_length for arrival in arrivals),
    }
    if json:
        emit(facts | {"law": law._asdict()})
        return
    note(
        f"wrote {file}: {facts['requests']:,} requests in {facts['seconds']:,.0f} s, {facts['input_tokens']:,} tokens "
        f"of prompts and {facts['output_tokens']:,} of answers"
    )


def replay(
    file: Annotated[Path, typer.Argument(help="Traffic file.")],
    url: Annotated[str, typer.Option("--url", help="Server, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model name on the server.", show_default="the first listed")
    ] = "",
    requests: Annotated[
        int | None,
        typer.Option("--requests", min=1, help="Maximum requests, from the first.", show_default="all"),
    ] = None,
    speed: Annotated[float, typer.Option("--speed", help="Speed-up of the file's timing.")] = 1.0,
    block: BlockOption = BLOCK,
    goodput: Annotated[
        list[str] | None,
        typer.Option(
            "--goodput",
            metavar="WHAT=MS",
            help="Count requests within a latency target: ttft, tpot or e2el; repeatable.",
            show_default=False,
        ),
    ] = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos/--no-ignore-eos", help="Request answers of the lengths in the file.")
    ] = True,
    seconds: Annotated[float, typer.Option("--timeout", min=0.1, help="Request timeout in seconds.")] = 600.0,
    saved: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the times of each request.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Save a plot of latencies.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send a file's requests to a server at their recorded times, and print the latencies that clients see."""
    from rich.progress import MofNCompleteColumn

    from intact._base.files import write_whole
    from intact.measure.bench.replay import ReplayTarget, check_promises, summarize
    from intact.measure.bench.replay import replay as send
    from intact.measure.bench.traffic import read_traffic

    promises = dict(_promise(text) for text in goodput or [])
    check_promises(promises)
    check_output("--out", saved)
    check_output("--plot", plot)
    if plot is not None:
        check_plot(plot)
    arrivals = read_traffic(file)[:requests]
    with bar(MofNCompleteColumn(), still=True) as progress:
        task = progress.add_task("replaying", total=len(arrivals))
        outcomes = send(
            arrivals,
            ReplayTarget(url, model, ignore_eos, seconds),
            speed=speed,
            block=block,
            progress=lambda done: progress.update(task, completed=done, refresh=True),
        )
    summary = summarize(outcomes, promises)
    if saved is not None:
        write_whole(saved, (encoder.dumps(outcome._asdict()) + "\n" for outcome in outcomes))
    if plot is not None:
        save_plot(outcomes, plot)
    if json:
        emit(summary._asdict())
    else:
        _print(summary)
    if summary.failed == summary.requests:
        fail(f"no request was answered: {next(iter(summary.errors))}")
        raise typer.Exit(2)


def _promise(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ParameterError(f"--goodput must be WHAT=MILLISECONDS, such as ttft=500, got {text!r:.60}") from None


def _print(summary: Summary) -> None:
    from intact.measure.bench.replay import METRICS, PERCENTILES

    answered, seconds = summary.requests - summary.failed, summary.seconds
    columns = "mean", *(f"{q}%" for q in PERCENTILES)
    table = new_table("milliseconds", *columns, right=columns, whole=columns)
    for name, words in METRICS.items():
        if values := summary.milliseconds[name]:
            table.add_row(words, *map(digits, values.values()))
    out().print(table)
    show(
        f"{answered:,} of {summary.requests:,} requests answered in {seconds:,.1f} s: {answered / seconds:.2f} "
        f"a second, {summary.input_tokens / seconds:,.0f} tokens of prompts and "
        f"{summary.output_tokens / seconds:,.0f} of answers"
    )
    if summary.goodput is not None:
        show(f"{summary.goodput:.2f} requests a second met the --goodput targets")
    if summary.late > 100:
        show(
            f"this program sent a request {summary.late:,.0f} ms late: it was too busy for this traffic", style="yellow"
        )
    for message, count in summary.errors.items():
        show(f"{count} failed: {message}", style="red")


def save_plot(outcomes: list[TimedAnswer], path: Path) -> None:
    """Save a plot of the share of requests finished within each time, for each metric."""
    from matplotlib.figure import Figure

    from intact.measure.bench.replay import METRICS

    canvas = Figure(figsize=(8, 4.5), layout="constrained")
    axis = canvas.subplots()
    for name, words in METRICS.items():
        values = sorted(value for one in outcomes if one.error is None for value in one.metrics()[name])
        if values:
            axis.step(values, [(place + 1) / len(values) for place in range(len(values))], where="post", label=words)
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds")
    axis.set_ylabel("share that took no longer")
    if axis.get_legend_handles_labels()[0]:  # none if no request was answered
        axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    save_picture(canvas, path)
