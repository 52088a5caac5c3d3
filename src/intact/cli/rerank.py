"""``intact rerank``: rank documents by how well they answer a query."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.embed import read_lines
from intact.cli.model_option import ModelArgument
from intact.cli.options import JsonOption, ProfileOption, ThreadsOption
from intact.cli.output import emit, new_table, out

EXAMPLES = """\
Find the documents that answer a query
  intact rerank -m ./Qwen3-Reranker-0.6B-Q8_0.gguf "What colour is the sky?" "The sky is blue." "Bread is baked."
The three best lines of a file, as JSON
  intact rerank -m ./model.gguf "What colour is the sky?" --top 3 --json < lines.txt

A score is the probability that the model says yes rather than no.
"""


def command(
    model: ModelArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Query that the documents should answer.")],
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOCUMENT]...", help="By default, each line of standard input.", show_default=False),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", min=1, help="Show only the N best documents.", show_default=False),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(
            "--instruction",
            metavar="TEXT",
            help="Instruction that tells the model what to look for in a document.",
            show_default=False,
        ),
    ] = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Rank documents by how well they answer a query."""
    read = documents or read_lines()
    if not read:
        raise ParameterError("no document given: pass some, or pipe in one per line")
    loaded: Any = fetch.load(model, profile, threads)
    own = {} if instruction is None else {"instruction": instruction}
    ranked = loaded.rerank(query, read, **own)[:top]
    if json:
        rows = [
            {"index": one.index, "score": one.score, "tokens": one.tokens, "document": read[one.index]}
            for one in ranked
        ]
        emit({"model": model, "profile": profile, "query": query, "results": rows})
        return
    table = new_table("score", "document", right=("score",))
    for one in ranked:
        table.add_row(f"{one.score:.4f}", read[one.index])
    out().print(table)
