"""``intact report``: a report of runs, as one HTML file or as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, note
from intact.errors import ParameterError
from intact.files import write_whole
from intact.packages import check_installed

EXAMPLES = """\
One run
  intact report gsm8k.jsonl --out gsm8k.html
Several, compared problem by problem
  intact report greedy.jsonl vote8.jsonl vote32.jsonl --out methods.html
For a README
  intact report gsm8k.jsonl --out gsm8k.md
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
    json: JsonOption = False,
) -> None:
    """Report runs: tables with intervals, curves with fitted laws, costs, calibration, failures with their texts."""
    from intact.evaluate.files import read
    from intact.evaluate.report.contents import as_list, report
    from intact.evaluate.report.html import html
    from intact.evaluate.report.machine import A100_175B, IdealMachine
    from intact.evaluate.report.markdown import markdown

    check_installed("a report", "matplotlib", "scipy", "statsmodels")
    if out_file.suffix not in (".html", ".md"):
        raise ParameterError(f"--out must end in .html or .md, got {out_file}")
    if len(set(runs)) < len(runs):
        raise ParameterError("a run was given twice")
    ideal = IdealMachine.parse(machine) if machine else A100_175B
    made = report({path: read(path) for path in runs}, title, ideal)
    if out_file.suffix == ".html":
        files = {out_file.name: html(made)}
    else:
        text, files = markdown(made, out_file.stem)
        files[out_file.name] = text
    out_file.parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(out_file.with_name(name), content)
    if json:
        emit({"files": [str(out_file.with_name(name)) for name in files], "sections": as_list(made)})
    else:
        note(f"{out_file}: {', '.join(section.title for section in made.sections)}")
