"""``intact report``: print the scores of runs, or write a report as one HTML file or as Markdown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from intact._base.errors import NotInstalledError, ParameterError
from intact._base.files import write_whole
from intact._base.packages import install, missing
from intact.cli.options import JsonOption
from intact.cli.output import emit, new_table, note, out, show

if TYPE_CHECKING:
    from intact.evaluate.report.arms import ReportArm
    from intact.evaluate.report.blocks import ReportDocument
    from intact.evaluate.results import EvaluationRun

LOOK, REFRESH = 2.0, 10
"""Seconds between two checks of the runs' files, and between reloads of the page in a browser."""
WATCHED = Path("report.html")
"""Default output file of --watch."""
PACKAGES = "matplotlib", "scipy"
"""Packages needed for plots and fitted laws."""
EXAMPLES = """\
The scores of runs and their differences
  intact report greedy.jsonl vote8.jsonl
The full report of one run
  intact report gsm8k.jsonl --out gsm8k.html
Several runs, compared problem by problem
  intact report greedy.jsonl vote8.jsonl vote32.jsonl --out methods.html
For a README
  intact report gsm8k.jsonl --out gsm8k.md
While a run is in progress
  intact eval smollm2-135m-instruct gsm8k --limit 100 --out gsm8k.jsonl --partial &
  intact report gsm8k.jsonl --watch
With the time that this machine would need for the tokens of each run
  intact bench --json --only prompt --only stream > bench.json
  intact report greedy.jsonl vote8.jsonl --machine bench.json --out seconds.html
Two models, each with its own rates
  intact report small.jsonl large.jsonl --machine small.gguf=small.json --machine large.gguf=large.json --out both.html
"""


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Result files of intact eval.")],
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write the full report: .html, or .md with plots in separate files.",
            show_default=f"{WATCHED} with --watch",
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the report.", show_default=False)] = "",
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine",
            metavar="RATES",
            help="Machine for the section Idealised runtime: gmacs_per_s=100,gb_per_s=20, from which the runtime of "
            "every model follows; or the rates of one model, MODEL=read=1000,write=20 in tokens per second or "
            "MODEL=FILE of intact bench --json; repeatable.",
            show_default="A100 cards as in arXiv 2305.02440",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Rewrite the report while intact eval --partial is running, until all runs end."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Report on runs: scores with intervals; with --out also curves, fitted laws, costs, and full failures."""
    from intact.evaluate.report.arms import arms_of
    from intact.evaluate.report.machine import MachineChoice

    if out_file is not None and out_file.suffix not in (".html", ".md"):
        raise ParameterError(f"--out must end with .html or .md, got {out_file}")
    if len(set(runs)) < len(runs):
        raise ParameterError("a run is given twice")
    if watch and json:
        raise ParameterError("--watch rewrites the report repeatedly: leave out --json")
    machines = MachineChoice.parse(machine or [])
    if not watch:
        found = _read({run: run for run in runs})
        if not json:
            _print_scores(arms_of(found))
        if out_file is None and not json:
            note(f"--out {WATCHED} writes costs, curves, calibration and failures with their texts")
            return
        from intact.evaluate.report.contents import as_list, report

        made = report(found, title, machines)
        written = [] if out_file is None else _write(made, out_file)
        if json:
            emit({"files": written, "sections": as_list(made)})
            return
        note(f"{out_file}: {', '.join(section.title for section in made.sections)}")
        if absent := missing(*PACKAGES):
            note(f"left out whatever needs {', '.join(absent)} (extra evaluate): {install(*absent)}")
        return
    from intact.evaluate.report.contents import report

    out_file = out_file or WATCHED
    for sources in _versions(runs):
        try:
            made = report(_read(sources), title, machines)
        except ParameterError:
            if all(source.is_file() for source in sources.values()):
                raise
            continue  # a run has just ended: the next check finds its result
        there = sum(run == source for run, source in sources.items())
        _write(made, out_file, REFRESH if there < len(sources) else None)
        note(f"{out_file}: {there} of {len(runs)} runs are complete")


def _read(sources: Mapping[Path, Path]) -> dict[Path, EvaluationRun]:
    """Read the runs, each from its source file."""
    from intact.evaluate.files import read

    return {run: read(source) for run, source in sources.items()}


def _print_scores(arms: Sequence[ReportArm]) -> None:
    """Print each run's main score with its interval, problems and tokens, and the differences between runs."""
    from intact.evaluate.report.formatting import bounds, percent
    from intact.evaluate.report.sections.comparisons import differences_of, in_words, reservations_of
    from intact.evaluate.report.sections.scores import caveats_of

    labels = {arm.label for arm in arms}
    first = ("run", "task") if len(labels) > 1 else (f"run of {min(labels)}",)
    numbers = "problems", "tokens"
    table = new_table(*first, "right", "95% interval", *numbers, right=numbers, whole=["right", "95% interval"])
    for arm in arms:
        score = arm.score("accuracy", "acc")
        shares = ("", "") if score is None else (percent(score.value), bounds(score.low, score.high))
        tokens = sum(record.cost["tokens"] for record in arm.records)
        table.add_row(*map(Text, (arm.name, arm.label)[: len(first)]), *shares, f"{len(arm.rates):,}", f"{tokens:,}")
    out().print(table)
    try:
        for one in differences_of(arms):
            show(in_words(one))
    except NotInstalledError as error:
        show(f"the runs are not compared without the extra evaluate: {error}", style="yellow")
    for warning in [*reservations_of(arms), *caveats_of(arms)]:
        show(warning.text, style="yellow")


def _write(made: ReportDocument, out_file: Path, refresh: int | None = None) -> list[str]:
    """Write a report, and return its files; with `refresh`, browsers reload it at that interval in seconds."""
    from intact.evaluate.report.html import html
    from intact.evaluate.report.markdown import markdown

    if out_file.suffix == ".html":
        files = {out_file.name: html(made, refresh)}
    else:
        text, files = markdown(made, out_file.stem)
        files[out_file.name] = text
    out_file.parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(out_file.with_name(name), content)
    return [str(out_file.with_name(name)) for name in files]


def _versions(runs: Sequence[Path], every: float = LOOK) -> Iterator[dict[Path, Path]]:
    """Yield the sources of the available runs whenever one has changed, until all runs are complete.

    A run's source is its result file, or the partial file while it is still running.
    """
    from intact.evaluate.files import partial_of

    known: dict[Path, tuple[Path, int]] = {}
    waiting = False
    while True:
        found: dict[Path, tuple[Path, int]] = {}
        for run in runs:
            for source in (run, partial_of(run)):
                with suppress(FileNotFoundError):
                    found[run] = source, source.stat().st_mtime_ns
                    break
        if found and found != known:
            known = found
            yield {run: source for run, (source, _) in found.items()}
        if (missing := [str(run) for run in runs if run not in found]) and not waiting:
            waiting = True
            note(f"waiting for {', '.join(missing)}: intact eval --partial writes partial results")
        if all(run in known and known[run][0] == run for run in runs):
            return
        time.sleep(every)
