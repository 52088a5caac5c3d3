"""``intact embed``: turn text into vectors, and compare them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.model_option import ModelArgument
from intact.cli.options import JsonOption, ProfileOption, ThreadsOption
from intact.cli.output import emit, new_table, out, show
from intact.cli.run import decode

EXAMPLES = """\
Compare the first text with the others
  intact embed -m ./Qwen3-Embedding-0.6B-Q8_0.gguf "The sky is blue." "What colour is the sky?" "Bread is baked."
Embed each line of a file, as JSON
  intact embed -m ./model.gguf --json < lines.txt
Use a generative model, by the state of its last token
  intact embed -m smollm2-135m-instruct --pooling last "A sea." "An ocean."

Many models expect an instruction before a question; see the model's card.
"""


def command(
    model: ModelArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="By default, each line of standard input.", show_default=False),
    ] = None,
    dimensions: Annotated[
        int | None,
        typer.Option("--dimensions", metavar="N", help="Keep only the first N components.", show_default=False),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            "--pooling",
            metavar="last|cls|mean",
            help="Pooling, if the model's files do not specify it; cls and mean are for encoders.",
            show_default=False,
        ),
    ] = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Turn text into vectors, and compare them."""
    from intact.models.pooling import POOLINGS

    read = texts or read_lines()
    if not read:
        raise ParameterError("no text given: pass some, or pipe in one per line")
    if pooling not in (None, *POOLINGS):
        raise ParameterError(f"--pooling must be {' or '.join(POOLINGS)}, got {pooling!r:.60}")
    loaded: Any = fetch.load(model, profile, threads)
    found = loaded.embed(read, dimensions=dimensions, pooling=pooling)
    if json:
        each = [
            {"text": text, "tokens": one.tokens, "vector": one.vector.tolist()}
            for text, one in zip(read, found, strict=True)
        ]
        emit({"model": model, "profile": profile, "dimensions": len(found[0].vector), "embeddings": each})
        return
    first = found[0].vector
    rows = new_table("cosine with the first", "tokens", "text", right=("cosine with the first", "tokens"))
    for text, one in zip(read, found, strict=True):
        rows.add_row(f"{float(one.vector @ first):.4f}", str(one.tokens), text)
    out().print(rows)
    show(f"{len(first)} dimensions; --json prints the vectors", style="dim")


def read_lines() -> list[str]:
    """Return the non-empty lines of standard input; an empty list if it is a terminal."""
    if sys.stdin.isatty():
        return []
    return [line for line in decode(sys.stdin.buffer.read(), "standard input").splitlines() if line.strip()]
