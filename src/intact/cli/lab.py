"""``intact lab``: compare ways to store a model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from intact._base.errors import ParameterError
from intact._base.files import read_text, write_whole
from intact._base.packages import check_installed
from intact.cli import fetch
from intact.cli.interruption import resumable
from intact.cli.model_option import ModelArgument
from intact.cli.options import Advanced, JsonOption, Profile, ThreadsOption, check_output, check_profile
from intact.cli.output import emit, new_table, note, out, show, stage_bar

if TYPE_CHECKING:
    from intact.evaluate.report.blocks import Table

EXAMPLES = """\
Compare three specs of a model on a text
  intact lab -m smollm2-135m-instruct --specs int4-32,nf4,mxfp4 --text wiki.test.txt --work lab
Include a quantiser that is calibrated on another text
  intact lab -m ./model.gguf --specs int3-16,gptq:int3-16 --text wiki.test.txt --calibrate wiki.valid.txt --work lab
Read specs from a file, one per line; write a report with a plot
  intact lab -m ./model.gguf --specs-file specs.txt --text wiki.test.txt --work lab --report formats.html
Measure the accuracy of the best specs on multiple choice, and speed
  intact lab -m ./model.gguf --specs int4-32,int8-32 --text wiki.test.txt --work lab --tasks arc_easy_likelihood --speed

All figures except speed use FP32 arithmetic on the quantised weights, so that they show only the format's cost;
--profile also quantises activations.
"""


def command(
    model: ModelArgument,
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="UTF-8 text to score.")],
    work: Annotated[Path, typer.Option("--work", metavar="FOLDER", help="Folder for logits and rows, to resume from.")],
    specs: Annotated[
        str, typer.Option("--specs", metavar="A,B", help="Specs (intact quantize --list), separated by commas.")
    ] = "",
    specs_file: Annotated[
        Path | None,
        typer.Option(
            "--specs-file",
            metavar="FILE",
            help="File with one spec per line; # starts a comment.",
            rich_help_panel=Advanced(),
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="TEXT", help="A different text, for quantisers that need calibration."),
    ] = None,
    context: Annotated[int, typer.Option("--context", help="Tokens per window.")] = 512,
    windows: Annotated[int, typer.Option("--windows", help="Number of windows of the text to score.")] = 16,
    calibration_windows: Annotated[
        int,
        typer.Option(
            "--calibration-windows",
            help="Number of 512-token windows of the calibration text.",
            rich_help_panel=Advanced(),
        ),
    ] = 32,
    embeddings: Annotated[
        str,
        typer.Option(
            "--embeddings",
            metavar="SPEC",
            help="Spec for token embeddings and head; keep leaves them unchanged.",
            rich_help_panel=Advanced(),
        ),
    ] = "keep",
    source: Annotated[
        Literal["file", "permuted", "rotated"],
        typer.Option(
            "--source",
            metavar="KIND",
            help="Float weights: the file's own (file), or permuted or rotated weights of the same function.",
            rich_help_panel=Advanced(),
        ),
    ] = "file",
    profile: Annotated[
        Profile,
        typer.Option(
            "--profile",
            callback=check_profile,
            metavar="NAME",
            help="Arithmetic for the rows; profiles other than fp32 include activations (docs/spec/profiles.md).",
        ),
    ] = "fp32",
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", metavar="NAME", help="Multiple-choice task for the best specs; repeatable."),
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(
            "--items",
            min=1,
            help="Maximum items per task.",
            show_default=False,
            rich_help_panel=Advanced(),
        ),
    ] = None,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure tokens per second, which is not reproducible.")
    ] = False,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            metavar="A,B",
            help="Specs to compare; by default each with the next best by KL.",
            rich_help_panel=Advanced(),
        ),
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Plot KL divergence against bits (.svg).")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a report of everything (.html).")
    ] = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure specs of a model: bits, memory, KL divergence and perplexity against the source."""
    from intact.quantizing.lab.measure import LabPlan, run_lab
    from intact.quantizing.lab.report import accuracy_table, plot, report, speed_table, table

    for option, file, ending in (("--plot", plot_file, ".svg"), ("--report", report_file, ".html")):
        check_output(option, file)
        if file is not None:
            check_installed(option, "matplotlib")
            if file.suffix != ending:
                raise ParameterError(f"{option} must end with {ending}, got {file}")
    wanted = [spec.strip() for spec in specs.split(",") if spec.strip()] + read_specs(specs_file)
    plan = LabPlan(
        fetch.locate(model),
        wanted,
        text,
        work,
        calibrate=calibrate,
        context=context,
        windows=windows,
        calibration_windows=calibration_windows,
        embeddings=embeddings,
        source=source,
        profile=profile,
    )
    compared = [plan.pair(pair) for pair in pairs or []]
    with resumable(work), stage_bar("reading") as progress:
        result = run_lab(plan, tasks=tasks or [], items=items, speed=speed, threads=threads, progress=progress)
    if plot_file is not None:
        write_whole(plot_file, plot(result))
    if report_file is not None:
        from intact.evaluate.report.html import html

        write_whole(report_file, html(report(result, compared)))
    if json:
        emit(result.to_dict(compared))
        return
    found = table(result)
    _print(found, whole=found.head[1:])
    for ordering in result.orderings(compared):
        show(str(ordering))
    if result.accuracies:
        _print(accuracy_table(result))
    if result.speed:
        _print(speed_table(result))
        note("tokens a second: medians and ranges over rounds, on this machine on one day")


def read_specs(file: Path | None) -> list[str]:
    """Return the specs in a file: one per line, # starts a comment."""
    lines = [] if file is None else read_text(file, ParameterError).splitlines()
    return [spec for line in lines if (spec := line.partition("#")[0].strip())]


def _print(table: Table, whole: Collection[str] = ()) -> None:
    printed = new_table(*table.head, right=table.head[2:], whole=whole)
    printed.columns[0].overflow = "fold"  # a mixture is a long word
    for row in table.rows:
        printed.add_row(*row)
    out().print(printed)
