"""``intact report``: a report of runs, as one HTML file or as Markdown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, note
from intact.errors import ParameterError
from intact.files import write_whole
from intact.packages import check_installed

if TYPE_CHECKING:
    from intact.evaluate.report.blocks import ReportDocument
    from intact.evaluate.report.machine import IdealMachine

LOOK, REFRESH = 2.0, 10
"""Seconds from one look at the runs' files to the next, and after which a browser loads a page again."""
EXAMPLES = """\
One run
  intact report gsm8k.jsonl --out gsm8k.html
Several, compared problem by problem
  intact report greedy.jsonl vote8.jsonl vote32.jsonl --out methods.html
For a README
  intact report gsm8k.jsonl --out gsm8k.md
While a run goes on
  intact eval smollm2-135m-instruct gsm8k --limit 100 --out gsm8k.jsonl --partial &
  intact report gsm8k.jsonl --watch
With the seconds that this machine would take for the tokens of each run
  intact bench --json --only prompt --only stream > bench.json
  intact report greedy.jsonl vote8.jsonl --machine bench.json
"""


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Result files of intact eval.")],
    out_file: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The report: .html, or .md with pictures in files next to it."
        ),
    ] = Path("report.html"),
    title: Annotated[str, typer.Option("--title", help="The title of the report.", show_default=False)] = "",
    machine: Annotated[
        str,
        typer.Option(
            "--machine",
            metavar="RATES",
            help="The machine of the section Idealised runtime: read=1000,write=20 in tokens a second, or a file of "
            "intact bench --json.",
            show_default="that of arXiv 2305.02440",
        ),
    ] = "",
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Write the report anew while intact eval --partial goes on, until all runs end."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Report runs: tables with intervals, curves with fitted laws, costs, calibration, failures with their texts."""
    from intact.evaluate.report.contents import as_list
    from intact.evaluate.report.machine import A100_175B, IdealMachine

    check_installed("a report", "matplotlib", "scipy", "statsmodels")
    if out_file.suffix not in (".html", ".md"):
        raise ParameterError(f"--out must end in .html or .md, got {out_file}")
    if len(set(runs)) < len(runs):
        raise ParameterError("a run was given twice")
    if watch and json:
        raise ParameterError("--watch writes the report again and again: leave out --json")
    ideal = IdealMachine.parse(machine) if machine else A100_175B
    for sources in _versions(runs) if watch else [{run: run for run in runs}]:
        try:
            made, files = _written(sources, out_file, title, ideal, REFRESH if watch else None)
        except ParameterError:
            if not watch or all(source.is_file() for source in sources.values()):
                raise
            continue  # a run has ended meanwhile: the next look finds its result
        if json:
            emit({"files": [str(out_file.with_name(name)) for name in files], "sections": as_list(made)})
        elif watch:
            there = sum(run == source for run, source in sources.items())
            note(f"{out_file}: {there} of {len(runs)} runs are complete")
        else:
            note(f"{out_file}: {', '.join(section.title for section in made.sections)}")


def _written(
    sources: Mapping[Path, Path], out_file: Path, title: str, machine: IdealMachine, refresh: int | None
) -> tuple[ReportDocument, list[str]]:
    """Write the report of runs, each read from its source; return it with the names of its files."""
    from intact.evaluate.files import read
    from intact.evaluate.report.contents import report
    from intact.evaluate.report.html import html
    from intact.evaluate.report.markdown import markdown

    made = report({run: read(source) for run, source in sources.items()}, title, machine)
    if out_file.suffix == ".html":
        going_on = any(run != source for run, source in sources.items())
        files = {out_file.name: html(made, refresh if going_on else None)}
    else:
        text, files = markdown(made, out_file.stem)
        files[out_file.name] = text
    out_file.parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(out_file.with_name(name), content)
    return made, list(files)


def _versions(runs: Sequence[Path], every: float = LOOK) -> Iterator[dict[Path, Path]]:
    """Yield the sources of the runs that there are, whenever one has changed, until all are complete.

    A run's source is its file, or what there is of it while it goes on.
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
            note(f"waiting for {', '.join(missing)}: intact eval --partial writes what there is of it")
        if all(run in known and known[run][0] == run for run in runs):
            return
        time.sleep(every)
