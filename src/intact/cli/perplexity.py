"""``intact perplexity``: measure a model's perplexity on a text file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli import fetch
from intact.cli.model_option import ModelArgument
from intact.cli.options import JsonOption, ProfileOption, ThreadsOption
from intact.cli.output import bar, emit, show
from intact.cli.run import decode

if TYPE_CHECKING:
    from intact.evaluate.perplexity import TextPerplexity

EXAMPLES = """\
Score a text in windows of 512 tokens
  intact perplexity -m smollm2-135m-instruct wiki.test.txt
Score the first 40 windows of 1024 tokens
  intact perplexity -m ./model.gguf book.txt --context 1024 --windows 40
Use the reference arithmetic
  intact perplexity -m ./model.gguf book.txt --profile fp32 --json

The second half of each window is scored, as in llama.cpp's perplexity tool.
If the model expects a BOS token, it replaces the first token of each window.
"""


def command(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="UTF-8 text file.")],
    context: Annotated[int, typer.Option("--context", help="Tokens per window.")] = 512,
    windows: Annotated[
        int | None, typer.Option("--windows", help="Maximum number of windows to read.", show_default=False)
    ] = None,
    all_positions: Annotated[
        bool, typer.Option("--all-positions", help="Score every token of a window, not only its second half.")
    ] = False,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure a model's perplexity on a text file."""
    text = decode(file.read_bytes(), str(file))
    loaded = fetch.load(model, profile, threads)
    tokens, bos = tokenise(loaded.tokenizer, text)
    whole = len(tokens) // context if context > 0 else 0
    from rich.progress import MofNCompleteColumn, TextColumn

    from intact.evaluate.perplexity import perplexity
    from intact.numerics.sampling import LOGPROB_SCALE

    with bar(MofNCompleteColumn(), TextColumn("perplexity {task.fields[value]}")) as progress:
        task = progress.add_task("windows", total=whole if windows is None else min(whole, windows), value="")

        def advance(so_far: TextPerplexity) -> None:
            progress.update(task, completed=so_far.windows, value=f"{so_far.perplexity:.4f}")

        result = perplexity(
            loaded, tokens, context, bos=bos, all_positions=all_positions, windows=windows, progress=advance
        )
    positions = "all" if all_positions else "second half"
    if json:
        emit(
            {
                "model": model,
                "profile": profile,
                "file": str(file),
                "context": context,
                "positions": positions,
                "bos": bos,
                "windows": result.windows,
                "tokens": result.tokens,
                "logprob_total": result.total,
                "logprob_scale": LOGPROB_SCALE,
                "nats": result.nats,
                "perplexity": result.perplexity,
                "error": result.error,
            }
        )
        return
    first = "no first token added" if bos is None else f"token {bos} first in each window"
    show(f"perplexity {result.perplexity:.4f} +- {result.error:.4f}")
    show(
        f"{result.tokens} tokens scored in {result.windows} windows of {context} ({positions}; {first}), "
        f"{result.nats:.6f} nats a token",
        style="dim",
    )


def tokenise(tokenizer: Any, text: str) -> tuple[list[int], int | None]:
    """Tokenise a text, with names of special tokens as plain text; also return the BOS token if the model adds one."""
    tokens: list[int] = tokenizer.encode(text, special=False)
    adds_bos = tokenizer.bos_id is not None and tokens[:1] == [tokenizer.bos_id]
    return tokens, tokenizer.bos_id if adds_bos else None
