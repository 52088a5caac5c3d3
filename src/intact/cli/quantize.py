"""``intact quantize``: write a quantised model."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.model_option import ModelArgument
from intact.cli.options import Advanced, JsonOption, ThreadsOption, check_output
from intact.cli.output import emit, new_table, out, show_rows, size, stage_bar

EXAMPLES = """\
Four bits in blocks of 32, rounded to the nearest level
  intact quantize -m smollm2-135m-instruct --to int4-32 --out smol-int4
GPTQ with three bits, calibrated on a text
  intact quantize -m ./model.gguf --to gptq:int3-16 --calibrate text.txt --out smol-gptq3
  intact run -m ./smol-gptq3 "Hello"
The same after AWQ scaling of the input channels
  intact quantize -m ./model.gguf --to awq+gptq:int3-16 --calibrate text.txt --out smol-awq3
A GGUF file for llama.cpp, with scales weighted by the inputs on a text
  intact quantize -m ./model-f16.gguf --to imatrix:q4_k --embeddings q6_k --calibrate text.txt --out model-q4_k.gguf
The same with an importance matrix from llama-imatrix
  intact quantize -m ./model-f16.gguf --to imatrix:q4_k --imatrix imatrix.gguf --out model-q4_k.gguf
One of three specs for each matrix, with 4.5 bits per weight in memory overall
  intact quantize -m ./model.gguf --to "mix:4.5(int3-16|int4-32|int8-32)" --calibrate text.txt --out smol-mix
Unchanged matrices, plus scales of their inputs for static int8 activations
  intact quantize -m ./model.gguf --to keep --static --calibrate text.txt --out smol-static
  intact run -m ./smol-static "Hello" --profile int8_static
A receipt, with which anyone who has model and text can reproduce the result
  intact quantize -m ./model.gguf --to gptq:int3-16 --calibrate text.txt --out smol-gptq3 --receipt smol-gptq3.receipt
  intact verify smol-gptq3.receipt --model ./model.gguf --text text.txt
All specs with their bits per weight
  intact quantize --list
"""


def command(
    model: ModelArgument = "",
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SPEC",
            help="[TRANSFORM+...][QUANTIZER:]GRID[-BLOCK][@RULE], a GGUF type, mix:BITS@COST(SPEC|...), or keep.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="New folder for the model, which must not exist, or FILE.gguf."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="TEXT", help="UTF-8 text, for quantisers that need calibration."),
    ] = None,
    imatrix: Annotated[
        Path | None,
        typer.Option(
            "--imatrix",
            metavar="FILE",
            help="Importance matrix of llama.cpp, for imatrix:TYPE instead of a calibration text.",
            rich_help_panel=Advanced(),
        ),
    ] = None,
    embeddings: Annotated[
        str,
        typer.Option(
            "--embeddings", metavar="SPEC", help="Spec for token embeddings and head; keep leaves them unchanged."
        ),
    ] = "keep",
    static: Annotated[
        bool,
        typer.Option("--static", help="Also write scales for the inputs of products, for the profile int8_static."),
    ] = False,
    context: Annotated[
        int, typer.Option("--context", help="Tokens per window of the text.", rich_help_panel=Advanced())
    ] = 512,
    windows: Annotated[
        int, typer.Option("--windows", help="Number of windows of the text to read.", rich_help_panel=Advanced())
    ] = 32,
    statistics: Annotated[
        Path | None,
        typer.Option(
            "--statistics",
            metavar="FOLDER",
            help="Folder that keeps calibration statistics for other runs.",
            rich_help_panel=Advanced(),
        ),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="Write a receipt of inputs and output, for intact verify."),
    ] = None,
    everything: Annotated[bool, typer.Option("--list", help="List all building blocks of specs.")] = False,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Quantise a model's matrices according to the spec given by --to."""
    if everything:
        list_specs(json)
        return
    if not model or to is None or folder is None:
        raise ParameterError("give a model, a spec (--to) and a folder (--out); --list shows the specs")
    from intact.quantizing import quantize

    if receipt and imatrix:
        raise ParameterError("--receipt records the text of --calibrate; models made with --imatrix have no receipt")
    check_output("--receipt", receipt)
    place = fetch.locate(model)
    with stage_bar("reading") as report:
        result = quantize(
            place, folder, to, embeddings=embeddings, static=static, calibrate=calibrate, imatrix=imatrix,
            context=context, windows=windows, statistics=statistics, threads=threads, progress=report,
        )  # fmt: skip
    if receipt:
        from intact.quantizing.receipt import make_receipt

        make_receipt(result, context, windows).save(receipt)
    if json:
        emit(asdict(result) | {"path": str(result.path)})
        return
    facts = [
        ("model", str(result.path)),
        ("spec", result.spec),
        ("matrices", f"{result.matrices}, {result.weights:,} weights"),
        ("bits a weight", f"{result.bits_per_weight:.3f}"),
        ("file", size(result.file_bytes)),
        ("digest", result.digest),
    ]
    if result.assignment is not None:
        counts = Counter(result.assignment.values())
        facts[2:2] = [("of them", f"{count} {spec}") for spec, count in sorted(counts.items())]
    show_rows(facts)


def list_specs(json: bool) -> None:
    """Print transforms, quantisers, costs, grids and GGUF types, with the bits per weight of each for rows of 4096."""
    from intact.quantizing.quantizers import COSTS, QUANTIZERS, TRANSFORMS, all_specs, parse_spec

    transforms, quantizers = (
        [
            {"name": name, "summary": one.summary, "calibrated": one.calibrated, "source": one.source}
            for name, one in known.items()
        ]
        for known in (TRANSFORMS, QUANTIZERS)
    )
    costs = [{"name": name, "summary": one.summary, "source": one.source} for name, one in COSTS.items()]
    specs = [
        {
            "spec": name,
            "full": str(spec),
            "bits_per_weight": spec.bits_per_weight(),
            "stored": spec.stored_bits(),
            "gguf": None if spec.block_type is None else spec.block_type.name,
            "source": spec.levels.source if spec.block_type is None else f"GGUF: {spec.block_type.name}",
        }
        for name in all_specs()
        for spec in [parse_spec(name)]
    ]
    if json:
        emit({"transforms": transforms, "quantizers": quantizers, "costs": costs, "specs": specs})
        return
    for kind, listed in (("transform", transforms), ("quantiser", quantizers)):
        table = new_table(kind, "what it does", "calibrated", whole=(kind,))
        for one in listed:
            table.add_row(str(one["name"]), str(one["summary"]), "yes" if one["calibrated"] else "")
        out().print(table)
    table = new_table("cost of a mixture", "what is kept least", whole=("cost of a mixture",))
    for cost in costs:
        table.add_row(cost["name"], cost["summary"])
    out().print(table)
    table = new_table("spec", "in full", "bits", "in memory", "source", right=("bits", "in memory"), whole=("spec",))
    for row in specs:
        table.add_row(
            str(row["spec"]),
            str(row["full"]),
            f"{row['bits_per_weight']:.2f}",
            f"{row['stored']:.2f}",
            str(row["source"]),
        )
    out().print(table)
