"""``intact lab``: measure ways to store a model, side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from intact.cli import fetch
from intact.cli.options import MODEL_HELP, JsonOption, ThreadsOption, complete_model
from intact.cli.output import emit, new_table, out, size, stage_bar

EXAMPLES = """\
Three specs of a model on a text
  intact lab smollm2-135m-instruct --specs int4-32,nf4,mxfp4 --text wiki.test.txt --work lab
With a quantiser that is calibrated on another text
  intact lab ./model.gguf --specs int3-16,gptq:int3-16 --text wiki.test.txt --calibrate wiki.valid.txt --work lab

All figures are of FP32 arithmetic on the quantised weights, so that they show the format's cost alone.
"""


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=complete_model)],
    specs: Annotated[str, typer.Option("--specs", metavar="A,B", help="Specs (intact quantize --list), by commas.")],
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="A text in UTF-8 that is scored.")],
    work: Annotated[
        Path, typer.Option("--work", metavar="FOLDER", help="Where logits and rows are kept; a run goes on from there.")
    ],
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="TEXT", help="Another text, for quantisers that need one.")
    ] = None,
    context: Annotated[int, typer.Option("--context", help="Tokens in a window.")] = 512,
    windows: Annotated[int, typer.Option("--windows", help="Windows of the text that are scored.")] = 16,
    embeddings: Annotated[str, typer.Option("--embeddings", metavar="SPEC", help="As of intact quantize.")] = "keep",
    source: Annotated[
        Literal["file", "permuted", "rotated"],
        typer.Option("--source", help="The float weights: the file's, or others of the same function."),
    ] = "file",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure specs of a model: bits, size, KL divergence and perplexity against the source."""
    from intact.lab.measure import run_lab

    place = fetch.locate(model)
    with stage_bar("reading") as report:
        rows = run_lab(
            place, [spec.strip() for spec in specs.split(",")], text, work, calibrate=calibrate, context=context,
            windows=windows, embeddings=embeddings, source=source, threads=threads, progress=report,
        )  # fmt: skip
    if json:
        emit([asdict(row) for row in rows])
        return
    heads = ("bits", "file", "KL", "+-", "same top", "perplexity")
    table = new_table("spec", *heads, right=heads, whole=("spec",))
    for row in rows:
        table.add_row(
            row.spec, f"{row.bits_per_weight:.2f}", size(row.file_bytes), f"{row.kl:.4f}", f"{row.kl_error:.4f}",
            f"{row.same_top:.1%}", f"{row.perplexity:.3f}",
        )  # fmt: skip
    table.add_row("source", "", "", "", "", "", f"{rows[0].source_perplexity:.3f}")
    out().print(table)
