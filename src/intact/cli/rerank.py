"""``intact rerank``: order documents by how well they answer a query."""

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
Which of these is an answer
  intact rerank -m ./Qwen3-Reranker-0.6B-Q8_0.gguf "What colour is the sky?" "The sky is blue." "Bread is baked."
The three best lines of a file, as JSON
  intact rerank -m ./model.gguf "What colour is the sky?" --top 3 --json < lines.txt

A score is the probability that the model would say yes, beside that of no.
"""


def command(
    model: ModelArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What the documents are to answer.")],
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOCUMENT]...", help="By default each line that is piped in.", show_default=False),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, help="Show the N best alone.", show_default=False)
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option("--instruction", metavar="TEXT", help="What is asked of a document.", show_default=False),
    ] = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Order documents by how well they answer a query."""
    read = documents or read_lines()
    if not read:
        raise ParameterError("there is no document: give some, or pipe in one a line")
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
